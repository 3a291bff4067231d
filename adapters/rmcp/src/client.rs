//! rmcp's view of the client.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{Method, Request};
use mcp_auth::Need;
use mcp_auth_tokio::Asking;
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use sse_stream::Sse;

use crate::AuthClient;
use crate::failure::{answer_of, failure};
use crate::operation::need_of;

type Headers = HashMap<HeaderName, HeaderValue>;
type Events = Pin<Box<dyn Stream<Item = Result<Sse, SseError>> + Send>>;
type Outcome<T, C> = Result<T, StreamableHttpError<<C as StreamableHttpClient>::Error>>;

impl<C: StreamableHttpClient + Sync> AuthClient<C> {
    /// Sends a request as often as the session says: `send` gets the token and the header fields to
    /// send it with.
    async fn send<T, F: Future<Output = Outcome<T, C>>>(
        &self,
        (method, uri): (Method, &str),
        (need, asking): (Need, Asking),
        (token, headers): (Option<String>, Headers),
        send: impl Fn(Option<String>, Headers) -> F,
    ) -> Outcome<T, C> {
        let mut request = outline(method, uri, token, headers).map_err(StreamableHttpError::Io)?;
        let sending = self.session.sending(request.uri(), need, asking).await;
        let mut sending = sending.map_err(|error| failure(error, None))?;
        loop {
            sending.prepare(&mut request).await.map_err(|error| failure(error, None))?;
            let (token, headers) = taken_apart(&request);
            let refusal = match send(token, headers).await {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            let Some(answer) = answer_of(&refusal) else { return Err(refusal) };
            match sending.is_to_be_repeated(&mut request, &answer).await {
                Ok(true) => {}
                Ok(false) => return Err(refusal),
                Err(error) => return Err(failure(error, Some(refusal))),
            }
        }
    }
}

/// The request, as the session sees it: without its body, and without what rmcp adds of its own.
fn outline(
    method: Method,
    uri: &str,
    token: Option<String>,
    headers: Headers,
) -> io::Result<Request<()>> {
    let invalid = |error: http::Error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let mut request = Request::builder().method(method).uri(uri).body(()).map_err(invalid)?;
    request.headers_mut().extend(headers);
    if let Some(token) = token {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|error| invalid(error.into()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// What the request is sent with, as rmcp's clients take it: a bearer token is no header field there.
fn taken_apart(request: &Request<()>) -> (Option<String>, Headers) {
    let mut fields = request.headers().clone();
    let value = fields.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    if token.is_some() {
        fields.remove(AUTHORIZATION);
    }
    let fields = fields.iter().map(|(name, value)| (name.clone(), value.clone()));
    (token, fields.collect())
}

impl<C: StreamableHttpClient + Sync> StreamableHttpClient for AuthClient<C> {
    type Error = C::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Outcome<StreamableHttpPostResponse, C> {
        let with = (auth_header, custom_headers);
        let need = (need_of(&message), self.asking);
        self.send((Method::POST, &uri), need, with, |token, headers| {
            let (uri, message, session_id) = (uri.clone(), message.clone(), session_id.clone());
            self.http.post_message(uri, message, session_id, token, headers)
        })
        .await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max: usize,
    ) -> Outcome<StreamableHttpPostResponse, C> {
        let with = (auth_header, custom_headers);
        let need = (need_of(&message), self.asking);
        self.send((Method::POST, &uri), need, with, |token, headers| {
            let (uri, message, session_id) = (uri.clone(), message.clone(), session_id.clone());
            let http = &self.http;
            http.post_message_with_max_sse_event_size(uri, message, session_id, token, headers, max)
        })
        .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Outcome<StreamableHttpPostResponse, C> {
        let with = (auth_header, custom_headers);
        let need = (need_of(&message), self.asking);
        self.send((Method::POST, &uri), need, with, |token, headers| {
            let (uri, message, session_id) = (uri.clone(), message.clone(), session_id.clone());
            let http = &self.http;
            http.post_message_with_response_limits(uri, message, session_id, token, headers, limits)
        })
        .await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Outcome<(), C> {
        let with = (auth_header, custom_headers);
        // Nobody is asked for the sake of what is over.
        let need = (Need::default(), Asking::Never);
        self.send((Method::DELETE, &uri), need, with, |token, headers| {
            self.http.delete_session(uri.clone(), session_id.clone(), token, headers)
        })
        .await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Outcome<Events, C> {
        let with = (auth_header, custom_headers);
        let need = (Need::default(), self.asking);
        self.send((Method::GET, &uri), need, with, |token, headers| {
            let (uri, session_id, last) = (uri.clone(), session_id.clone(), last_event_id.clone());
            self.http.get_stream(uri, session_id, last, token, headers)
        })
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max: usize,
    ) -> Outcome<Events, C> {
        let with = (auth_header, custom_headers);
        let need = (Need::default(), self.asking);
        self.send((Method::GET, &uri), need, with, |token, headers| {
            let (uri, session_id, last) = (uri.clone(), session_id.clone(), last_event_id.clone());
            let http = &self.http;
            http.get_stream_with_max_sse_event_size(uri, session_id, last, token, headers, max)
        })
        .await
    }
}
