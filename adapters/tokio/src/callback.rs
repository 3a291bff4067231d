//! A person's way back: the listener, and what their browser is shown.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use mcp_auth::HostError;
use mcp_auth::output::{ListenSpec, Page};
use mcp_auth_host::desk::{Redirect, now};
use mcp_auth_host::listener;
use tokio::task::spawn_blocking;

use crate::office::Office;

/// How long a browser waits for its page.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

impl Office {
    pub(crate) fn listen(self: &Arc<Self>, spec: &ListenSpec) -> Result<String, HostError> {
        // The listener is part of what it would keep alive.
        let office = Arc::downgrade(self);
        let running = self.hands.listen(spec, move |target| match office.upgrade() {
            Some(office) => office.on_redirect(target),
            None => listener::Page::NotForUs,
        })?;
        let uri = running.redirect_uri().to_owned();
        let stale = self.front().desk.listener.replace(running);
        spawn_blocking(move || drop(stale));
        Ok(uri)
    }

    /// A redirect came to the listener, on a thread of its own: the page for whoever sent it.
    fn on_redirect(self: Arc<Self>, target: String) -> listener::Page {
        let (show, shown) = mpsc::channel();
        let office = self.clone();
        self.runtime.spawn(async move { show.send(office.page_for(target).await) });
        // Nothing comes where the runtime has ended.
        self.hands.page(shown.recv().unwrap_or(Page::NotForUs))
    }

    /// What whoever sent this redirect is to be shown.
    pub(crate) async fn page_for(self: &Arc<Self>, target: String) -> Page {
        let page = self.wait(now().mono.plus(PAGE_PATIENCE), Redirect::to(target)).await;
        page.unwrap_or(Page::NotForUs)
    }
}
