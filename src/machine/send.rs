//! Requests: what each may reach is decided here, and nowhere else.

use url::Url;

use crate::flow::HttpAsk;
use crate::machine::AuthMachine;
use crate::machine::lane::{Asked, Flight, LaneName};
use crate::notice::Notice;
use crate::output::{Action, HttpCall, Limits, TransportError, TransportErrorKind};
use crate::reach::Reach;
use crate::text::printable_url;
use crate::time::Now;
use crate::wire::url as address;

impl AuthMachine {
    pub(super) fn send(&mut self, now: Now, name: LaneName, ask: HttpAsk) {
        let HttpAsk { request, purpose, certificate } = ask;
        let (home, reach) = match self.bounds(&request) {
            Ok(bounds) => bounds,
            Err(error) => {
                if let Some(lane) = self.take_lane(name) {
                    self.on_http(now, lane, Err(error));
                }
                return self.pump(now);
            }
        };
        let limits = Limits::of(purpose);
        let asked = Flight::Http(Asked { purpose, uri: request.uri().clone(), at: now });
        let id = self.fly(now, limits.deadline, Some(name), asked);
        self.tell(Notice::Asking {
            purpose,
            method: request.method().to_string(),
            url: printable_url(&request.uri().to_string()),
        });
        self.act(Action::Http(HttpCall { id, request, limits, purpose, reach, home, certificate }));
    }

    /// Whether a request goes to the operator's server, and what it may reach; or why it isn't sent
    /// at all.
    fn bounds(&self, request: &http::Request<Vec<u8>>) -> Result<(bool, Reach), TransportError> {
        let url = Url::parse(&request.uri().to_string())
            .map_err(|error| TransportError::new(TransportErrorKind::Other, error))?;
        let (site, server_at) = (&self.session.site, self.session.record.server_at);
        let reach = Reach::of(&url, site, &self.config, server_at);
        reach
            .allows_url(&url)
            .map_err(|error| TransportError::new(TransportErrorKind::Refused, error))?;
        Ok((address::same_origin(&url, &site.url), reach))
    }
}
