//! A browser without a person: it opens the authorization URL and goes where it is sent.

use std::thread;

use mcp_auth_host::browser::{Browser, BrowserError};

/// Follows one redirect: from the authorization endpoint to the callback.
pub struct Walker;

impl Browser for Walker {
    fn open(&self, url: &str) -> Result<(), BrowserError> {
        let url = url.to_owned();
        // As a real browser does, it returns at once: the callback is answered by whoever called.
        thread::spawn(move || {
            let agent = ureq::Agent::new_with_config(
                ureq::Agent::config_builder()
                    .max_redirects(0)
                    .max_redirects_will_error(false)
                    .http_status_as_error(false)
                    .build(),
            );
            let Ok(page) = agent.get(&url).call() else { return };
            let location = page.headers().get("location").and_then(|value| value.to_str().ok());
            if let Some(location) = location {
                let _ = agent.get(location).call();
            }
        });
        Ok(())
    }
}
