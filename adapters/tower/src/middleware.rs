//! The same for clients of `reqwest-middleware`.

use http::{Extensions, Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::AuthLayer;

/// With the feature `reqwest-middleware`. What a request is for is in the extensions that go with it
/// (`RequestBuilder::with_extension`). Errors are [`mcp_auth::Error`]s where there is no token.
///
/// A request whose body is a stream can't be sent again: after a refusal a token is got, for the next
/// one, and the refusal is its answer.
///
/// Let the client itself follow no redirect: which ones are to be followed is judged here.
///
/// ```no_run
/// use mcp_auth_tokio::Session;
/// use mcp_auth_tower::AuthLayer;
/// use reqwest_middleware::ClientBuilder;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let session = Session::builder("https://mcp.example.com/mcp").build()?;
/// let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let client = ClientBuilder::new(http).with(AuthLayer::new(session)).build();
///
/// let response = client.post("https://mcp.example.com/mcp").body("{}").send().await?;
/// # Ok(())
/// # }
/// ```
#[async_trait::async_trait]
impl Middleware for AuthLayer {
    async fn handle(
        &self,
        mut request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response> {
        // As the session sees it: without its body.
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.url().as_str().parse().map_err(Error::middleware)?;
        std::mem::swap(head.headers_mut(), request.headers_mut());
        let begun = self.begin(head.uri(), extensions).await.map_err(Error::middleware)?;
        let Some(mut sending) = begun else {
            std::mem::swap(head.headers_mut(), request.headers_mut());
            return next.run(request, extensions).await;
        };
        loop {
            sending.prepare(&mut head).await.map_err(Error::middleware)?;
            let again = request.try_clone();
            let home = request.url().origin();
            request.headers_mut().clone_from(head.headers());
            let response = next.clone().run(request, extensions).await?;
            // A client that follows redirects: what others say is no challenge of ours.
            if response.url().origin() != home {
                return Ok(response);
            }
            let mut seen = Response::new(());
            *seen.status_mut() = response.status();
            seen.headers_mut().clone_from(response.headers());
            let repeat = sending.is_to_be_repeated(&mut head, &seen).await;
            let Some(copy) = again else { return Ok(response) };
            if !repeat.map_err(Error::middleware)? {
                return Ok(response);
            }
            request = copy;
            let moved = head.uri().to_string();
            *request.url_mut() = moved.parse().map_err(Error::middleware)?;
        }
    }
}
