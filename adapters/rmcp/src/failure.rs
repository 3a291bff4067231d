//! What rmcp says of an answer, as the answer that it was; and our own errors in its.

use std::error::Error as StdError;
use std::{fmt, io};

use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use mcp_auth::Error;
use rmcp::service::ClientInitializeError;
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, InsufficientScopeError, StreamableHttpError,
};

/// The server's answer that this error is about, as far as rmcp keeps it. `None` where it is about
/// something else.
pub(crate) fn answer_of<E>(error: &StreamableHttpError<E>) -> Option<Response<()>>
where
    E: StdError + Send + Sync + 'static,
{
    let (status, challenge) = match error {
        StreamableHttpError::AuthRequired(refusal) => {
            (StatusCode::UNAUTHORIZED, Some(&refusal.www_authenticate_header))
        }
        StreamableHttpError::InsufficientScope(refusal) => {
            (StatusCode::FORBIDDEN, Some(&refusal.www_authenticate_header))
        }
        StreamableHttpError::HttpStatus(error) => (StatusCode::from_u16(error.status).ok()?, None),
        // Without a challenge, rmcp keeps the status in its text alone: `HTTP 401 Unauthorized: …`.
        StreamableHttpError::UnexpectedServerResponse(text) => {
            (text.strip_prefix("HTTP ")?.get(..3)?.parse().ok()?, None)
        }
        StreamableHttpError::Client(error) => (status_of(error)?, None),
        _ => return None,
    };
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(text).ok()) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    Some(answer)
}

#[cfg(feature = "reqwest")]
fn status_of(error: &(dyn StdError + 'static)) -> Option<StatusCode> {
    chain(error).find_map(|error| error.downcast_ref::<reqwest::Error>()?.status())
}

#[cfg(not(feature = "reqwest"))]
fn status_of(_: &(dyn StdError + 'static)) -> Option<StatusCode> {
    None
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// Why a request was not sent, or not again: an error of the session.
#[derive(Debug)]
struct Failure {
    error: Error,
    refusal: Option<Refusal>,
}

/// The server's own words that led to it, as rmcp knows them.
#[derive(Debug)]
enum Refusal {
    Unauthorized(AuthRequiredError),
    InsufficientScope(InsufficientScopeError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.refusal {
            Some(Refusal::Unauthorized(refusal)) => Some(refusal),
            Some(Refusal::InsufficientScope(refusal)) => Some(refusal),
            None => self.error.source(),
        }
    }
}

/// Our error, as one of rmcp's: after this refusal, if there was one.
pub(crate) fn failure<E>(
    error: Error,
    refusal: Option<StreamableHttpError<E>>,
) -> StreamableHttpError<E>
where
    E: StdError + Send + Sync + 'static,
{
    let refusal = refusal.and_then(|refusal| match refusal {
        StreamableHttpError::AuthRequired(refusal) => Some(Refusal::Unauthorized(refusal)),
        StreamableHttpError::InsufficientScope(refusal) => {
            Some(Refusal::InsufficientScope(refusal))
        }
        _ => None,
    });
    StreamableHttpError::Io(io::Error::other(Failure { error, refusal }))
}

/// The session's error in one of rmcp's (`ClientInitializeError`, `ServiceError`, …), if it is about
/// that: what is wrong, whose fault it is, and what to do.
///
/// ```
/// use mcp_auth::ErrorKind;
/// use mcp_auth_rmcp::auth_error;
/// use rmcp::ServiceError;
///
/// fn needs_a_person(error: &ServiceError) -> bool {
///     auth_error(error).is_some_and(|e| matches!(e.kind(), ErrorKind::LoginRequired { .. }))
/// }
/// # assert!(!needs_a_person(&ServiceError::TransportClosed));
/// ```
pub fn auth_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    // These two don't name what is inside as their source.
    match error.downcast_ref::<ClientInitializeError>() {
        Some(ClientInitializeError::TransportError { error, .. }) => return auth_error(error),
        Some(ClientInitializeError::LegacyFallbackFailed { discover, fallback }) => {
            return auth_error(&**fallback).or_else(|| auth_error(&**discover));
        }
        _ => {}
    }
    chain(error).find_map(|error| {
        let inside = error.downcast_ref::<io::Error>()?.get_ref()?;
        Some(&inside.downcast_ref::<Failure>()?.error)
    })
}
