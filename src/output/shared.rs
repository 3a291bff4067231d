//! Documents that anybody may read: what one session was answered serves others, too.

use std::time::Duration;

use http::header::ACCEPT;
use http::{Method, Response, StatusCode};

use crate::event::Event;
use crate::output::{HttpCall, Purpose, TransportError};
use crate::session::freshness::SHORTEST;
use crate::time::UnixTime;
use crate::wire::failure::is_passing;
use crate::wire::resource_metadata::ResourceMetadata;
use crate::wire::server_metadata::ServerMetadata;

/// "There is none" is said of several places before a document is found: sessions that begin together
/// need not hear it one by one, and who has just published one need not wait.
const SECONDS: Duration = Duration::from_secs(10);

impl HttpCall {
    /// Whether the answer to this request is as good for any other session that sends the same: it asks
    /// for a published document, and carries nothing of anybody's. A `GET` with no header field but
    /// `Accept`, without body and certificate.
    ///
    /// The same is what has the same [`request`](Self::request), [`purpose`](Self::purpose),
    /// [`limits`](Self::limits) and [`reach`](Self::reach), and is sent by the same HTTP client. A host
    /// may send one request for all that are waiting for it.
    pub fn is_shareable(&self) -> bool {
        let request = &self.request;
        matches!(self.purpose, Purpose::ResourceMetadata | Purpose::ServerMetadata)
            && request.method() == Method::GET
            && request.headers().keys().all(|name| name == ACCEPT)
            && request.body().is_empty()
            && self.certificate.is_none()
    }

    /// For how long an answer may be handed to [the same](Self::is_shareable) requests that are made
    /// after it came: five minutes where it is a document, for nobody asks for one more often (see
    /// [`MetadataFreshness`](crate::MetadataFreshness)); ten seconds where it says that there is none; zero
    /// for what may be another at the next try.
    pub fn share_for(&self, result: &Result<Response<Vec<u8>>, TransportError>) -> Duration {
        let Ok(response) = result else { return Duration::ZERO };
        let (status, body) = (response.status(), response.body());
        let is_document = status == StatusCode::OK
            && match self.purpose {
                Purpose::ResourceMetadata => ResourceMetadata::parse(body).is_ok(),
                Purpose::ServerMetadata => ServerMetadata::parse(body).is_ok(),
                _ => return Duration::ZERO,
            };
        match is_passing(status, response.headers(), body) {
            _ if is_document => SHORTEST,
            true => Duration::ZERO,
            false => SECONDS,
        }
    }

    /// The same as [`answer`](Self::answer) with what [the same](Self::is_shareable) request was answered
    /// this long ago. It counts from when it came: being shared makes nothing last for longer.
    pub fn answer_shared(
        self,
        mut result: Result<Response<Vec<u8>>, TransportError>,
        age: Duration,
    ) -> Event {
        if let Ok(response) = &mut result {
            response.extensions_mut().insert(Age(age));
        }
        self.answer(result)
    }
}

/// How long ago it came to this program. Not the header field: that is the server's word.
#[derive(Clone, Copy)]
struct Age(Duration);

pub(crate) fn age(response: &Response<Vec<u8>>) -> Duration {
    response.extensions().get().map_or(Duration::ZERO, |Age(age)| *age)
}

/// When an answer came that is at hand now.
pub(crate) fn came_at(response: &Response<Vec<u8>>, now: UnixTime) -> UnixTime {
    UnixTime(now.0.saturating_sub(age(response).as_secs()))
}

#[cfg(test)]
mod tests;
