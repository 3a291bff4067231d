//! A town whose MCP server is somebody else's: the world guards its door, and answers for no more.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mcp_auth_world::GetAnswer;
use tokio::net::TcpListener;

use crate::town::{Answering, Town};

impl<H> Town<H> {
    /// With this MCP server, on the runtime that calls. It gets what the world would not refuse.
    ///
    /// # Panics
    ///
    /// Without free ports.
    pub async fn guarding<F, R>(
        serve: impl Fn(Request<Full<Bytes>>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Response<R>> + Send,
        R: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let town = Self::around(&format!("http://{}", socket.local_addr().unwrap()));
        town.world().resource.get = GetAnswer::Unauthorized;
        let answering = town.answering();
        tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (answering, serve) = (answering.clone(), serve.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answering, serve) = (answering.clone(), serve.clone());
                    async move { pass(request, answering, serve).await }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        town
    }
}

async fn pass<F, R>(
    request: Request<Incoming>,
    answering: Arc<Answering>,
    serve: impl Fn(Request<Full<Bytes>>) -> F + Send,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, hyper::Error>
where
    F: Future<Output = Response<R>> + Send,
    R: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let copy = Request::from_parts(head.clone(), body.to_vec());
    // It may hold the request back.
    let said = tokio::task::spawn_blocking(move || answering(copy)).await;
    let said = said.expect("the world goes on");
    let refused = matches!(said.status().as_u16(), 401 | 403) || said.status().is_redirection();
    if refused || head.uri.path() != "/mcp" {
        return Ok(said.map(|body| Full::from(body).boxed_unsync()));
    }
    Ok(serve(Request::from_parts(head, Full::from(body))).await.map(R::boxed_unsync))
}
