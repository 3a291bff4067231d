//! What actions need: the network, a store, a browser. Whatever blocks does so on a thread of its own.

use std::sync::Arc;

use http::Response;
use mcp_auth::output::{HttpCall, LoadCall, Page, SaveCall};
use mcp_auth::{HostError, TransportError, TransportErrorKind};
use mcp_auth_host::browser::Browser;
use mcp_auth_host::listener;
use mcp_auth_host::store::{Lock, Store};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::http_client::HttpClient;

/// The outside world, as one session uses it.
pub(crate) struct Hands {
    pub(crate) client: Arc<dyn HttpClient>,
    pub(crate) blocking: Arc<Blocking>,
    /// Who wants the store's lock is about to refresh, or to save: so many at a time.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) program: Option<String>,
}

/// What blocks.
pub(crate) struct Blocking {
    pub(crate) store: Box<dyn Store>,
    pub(crate) browser: Box<dyn Browser>,
}

impl Blocking {
    pub(crate) fn browse(&self, url: &str) -> Result<(), HostError> {
        self.browser.open(url).map_err(HostError::new)
    }
}

impl Hands {
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Blocking) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let blocking = self.blocking.clone();
        let done = spawn_blocking(move || act(&blocking)).await;
        done.unwrap_or_else(|_| Err(HostError::new("it panicked")))
    }

    /// The record, and the lock if one was asked for.
    pub(crate) async fn load(
        &self,
        call: &LoadCall,
        stale: Option<Lock>,
    ) -> Result<(Option<Vec<u8>>, Option<Lock>), HostError> {
        let (lock, deadline) = (call.lock(), call.deadline());
        let permit = match lock {
            true => {
                let permit = self.permits.clone().acquire_owned();
                let closed = |_| HostError::new("the sessions are shut down");
                Some(permit.await.map_err(closed)?)
            }
            false => None,
        };
        self.blocking(move |hands| {
            drop(stale);
            let lock = match permit {
                Some(permit) => {
                    let lock: Lock = Box::new((hands.store.lock(deadline)?, permit));
                    Some(lock)
                }
                None => None,
            };
            Ok((hands.store.load()?, lock))
        })
        .await
    }

    pub(crate) async fn save(&self, call: SaveCall) -> (SaveCall, Result<(), HostError>) {
        let record = call.record().map(<[u8]>::to_vec);
        let set_aside = call.set_aside();
        let saved = self.blocking(move |hands| {
            if set_aside {
                hands.store.set_aside()?;
            }
            match &record {
                Some(record) => hands.store.save(record),
                None => hands.store.erase(),
            }
        });
        let saved = saved.await;
        (call, saved)
    }

    pub(crate) async fn http(&self, call: &HttpCall) -> Result<Response<Vec<u8>>, TransportError> {
        let (client, request, limits) =
            (self.client.clone(), call.request().clone(), call.limits());
        // In a task of its own: a panic in somebody else's code is the failure of one action.
        let sent = tokio::spawn(async move { client.send(request, limits).await });
        sent.await.unwrap_or_else(|_| {
            Err(TransportError::new(TransportErrorKind::Other, "the HTTP client panicked"))
        })
    }

    /// The core's page in the words of the listener.
    pub(crate) fn page(&self, page: Page) -> listener::Page {
        match page {
            Page::Success => listener::Page::Success { program: self.program.clone() },
            Page::Failure(explanation) => {
                listener::Page::Failure { title: "The sign-in failed".into(), explanation }
            }
            Page::NotForUs => listener::Page::NotForUs,
        }
    }
}
