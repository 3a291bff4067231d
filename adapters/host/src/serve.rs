//! A minimal HTTP/1.1 server on the loopback address, for tests and demos.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::{Request, Response, Uri, header};

#[cfg(feature = "serve-tls")]
mod tls;
#[cfg(feature = "serve-tls")]
pub use tls::CERTIFICATE;

/// The longest request head, in bytes.
const MAX_HEAD: usize = 32 << 10;
/// The longest request body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// How many header fields a request may have.
const MAX_FIELDS: usize = 100;
/// The most connections at a time; further ones are closed.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// What makes a connection a secure one.
type Secure = Box<dyn Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync>;

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

type Handler = Box<dyn Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync>;

/// A server at a free port of `127.0.0.1`. It stops when it is dropped.
///
/// ```
/// use mcp_auth_host::serve::Server;
///
/// let server = Server::start(|request| http::Response::new(request.into_body()))?;
/// assert!(server.url().starts_with("http://127.0.0.1:"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds a free port and answers with `handler`, on a thread for each connection.
    ///
    /// The handler gets absolute URIs. Each connection takes one request.
    ///
    /// # Errors
    ///
    /// Where no port or no thread can be had.
    pub fn start(
        handler: impl Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Listening::bind()?.start(handler)
    }

    /// Where it listens, without a slash at the end: `http://127.0.0.1:49152`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same as an address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A bound port that doesn't answer yet, for handlers that must know their own address.
///
/// ```
/// use http::Response;
/// use mcp_auth_host::serve::Listening;
///
/// let listening = Listening::bind()?;
/// let url = listening.url();
/// let metadata = format!(r#"{{"resource":"{url}/mcp"}}"#).into_bytes();
/// let server = listening.start(move |_request| Response::new(metadata.clone()))?;
/// assert_eq!(server.url(), url);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Listening {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Binds a free port.
    ///
    /// # Errors
    ///
    /// Where none can be had.
    pub fn bind() -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it listens: see [`Server::url`].
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers from now on: see [`Server::start`].
    ///
    /// # Errors
    ///
    /// Where no thread can be had.
    pub fn start(
        self,
        handler: impl Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
    ) -> io::Result<Server> {
        self.start_with(None, handler)
    }

    /// The same with TLS. The handler's URIs are `https` ones.
    ///
    /// # Errors
    ///
    /// Where no thread can be had.
    #[cfg(feature = "serve-tls")]
    pub fn start_tls(
        self,
        handler: impl Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
    ) -> io::Result<Server> {
        let secure = tls::secure(None)?;
        self.start_with(Some(secure), handler)
    }

    /// The same for clients that show a certificate under this root, in DER, and for no others (mutual
    /// TLS).
    ///
    /// # Errors
    ///
    /// Where no thread can be had, or the root is none.
    #[cfg(feature = "serve-tls")]
    pub fn start_mutual_tls(
        self,
        root: &[u8],
        handler: impl Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
    ) -> io::Result<Server> {
        let secure = tls::secure(Some(root))?;
        self.start_with(Some(secure), handler)
    }

    fn start_with(
        self,
        secure: Option<Secure>,
        handler: impl Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
    ) -> io::Result<Server> {
        let Self { socket, address } = self;
        let closing = Arc::new(AtomicBool::new(false));
        let desk = Arc::new(Desk {
            handler: Box::new(handler),
            secure,
            closing: closing.clone(),
            open: AtomicUsize::new(0),
            address,
        });
        let acceptor =
            thread::Builder::new().name("serve".into()).spawn(move || desk.accept_all(&socket))?;
        Ok(Server { address, closing, acceptor: Some(acceptor) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

struct Desk {
    handler: Handler,
    secure: Option<Secure>,
    closing: Arc<AtomicBool>,
    open: AtomicUsize,
    address: SocketAddr,
}

/// Counts a connection for as long as it is there.
struct Seat(Arc<Desk>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Desk {
    fn accept_all(self: Arc<Self>, socket: &TcpListener) {
        loop {
            let accepted = socket.accept();
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            let Ok((stream, _)) = accepted else {
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            let seat = Seat(self.clone());
            if self.open.fetch_add(1, Ordering::SeqCst) < MAX_CONNECTIONS {
                let _ = thread::Builder::new().spawn(move || seat.serve(stream));
            }
        }
    }
}

impl Seat {
    /// One request; a failure costs this connection only.
    fn serve(self, mut stream: TcpStream) {
        let _ = self.answer(&stream);
        let _ = stream.shutdown(Shutdown::Write);
        // Closing with unread bytes would reset the connection before the answer is read.
        let mut rest = [0; 1024];
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        while stream.read(&mut rest).is_ok_and(|length| length > 0) {}
    }

    fn answer(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (scheme, mut stream) = match &self.0.secure {
            Some(secure) => ("https", secure(stream.try_clone()?)?),
            None => ("http", Box::new(stream) as Box<dyn Stream>),
        };
        let response = match read_request(&mut *stream, scheme, self.0.address)? {
            Some(request) => (self.0.handler)(request),
            None => {
                let mut refusal = Response::new(Vec::new());
                *refusal.status_mut() = http::StatusCode::BAD_REQUEST;
                refusal
            }
        };
        stream.write_all(&to_bytes(&response))?;
        stream.flush()
    }
}

/// Reads one request; `None` where it isn't one that is served here.
fn read_request(
    stream: &mut dyn Stream,
    scheme: &str,
    us: SocketAddr,
) -> io::Result<Option<Request<Vec<u8>>>> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    let (builder, head_length, body_length) = loop {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(part.get(..length).unwrap_or_default());
        match read_head(&bytes, scheme, us) {
            Ok(Some(head)) => break head,
            Ok(None) if bytes.len() <= MAX_HEAD => {}
            Ok(None) | Err(BadRequest) => return Ok(None),
        }
    };
    if body_length > MAX_BODY {
        return Ok(None);
    }
    let mut body = bytes.split_off(head_length);
    while body.len() < body_length {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        body.extend_from_slice(part.get(..length).unwrap_or_default());
    }
    body.truncate(body_length);
    Ok(builder.body(body).ok())
}

/// Not a request that is served here.
struct BadRequest;

/// The head, its length and that of the body; `None` where the head isn't whole yet.
type Head = (http::request::Builder, usize, usize);

fn read_head(bytes: &[u8], scheme: &str, us: SocketAddr) -> Result<Option<Head>, BadRequest> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let head_length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(BadRequest),
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(BadRequest);
    };
    let mut builder = Request::builder().method(method);
    let mut body_length = 0;
    let mut host = us.to_string();
    for field in parsed.headers.iter() {
        let text = std::str::from_utf8(field.value).unwrap_or_default();
        if field.name.eq_ignore_ascii_case(header::HOST.as_str()) {
            text.clone_into(&mut host);
        } else if field.name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str()) {
            body_length = text.parse().map_err(|_| BadRequest)?;
        } else if field.name.eq_ignore_ascii_case(header::TRANSFER_ENCODING.as_str()) {
            return Err(BadRequest);
        }
        builder = builder.header(field.name, field.value);
    }
    let uri: Uri = format!("{scheme}://{host}{target}").parse().map_err(|_| BadRequest)?;
    Ok(Some((builder.uri(uri), head_length, body_length)))
}

fn to_bytes(response: &Response<Vec<u8>>) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH && name != header::CONNECTION {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
    }
    let length = response.body().len();
    let end = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
    bytes.extend_from_slice(end.as_bytes());
    bytes.extend_from_slice(response.body());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn echo() -> Server {
        Server::start(|request| {
            let text = format!("{} {} ", request.method(), request.uri());
            Response::new([text.into_bytes(), request.into_body()].concat())
        })
        .unwrap()
    }

    #[test]
    fn a_request_is_handed_over_with_its_body_and_an_absolute_uri() {
        let server = echo();
        let answer = ask(&server, "POST /a?b HTTP/1.1\r\nHost: x:1\r\nContent-Length: 2\r\n\r\nhi");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nPOST http://x:1/a?b hi"), "{answer}");
    }

    #[test]
    fn what_is_too_long_or_no_request_is_refused() {
        let server = echo();
        for request in [
            "?\r\n\r\n".to_owned(),
            format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(2 * MAX_HEAD)),
            format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", MAX_BODY + 1),
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ] {
            assert!(ask(&server, &request).starts_with("HTTP/1.1 400 "));
        }
    }

    #[test]
    fn a_dropped_server_frees_its_port() {
        let server = echo();
        let address = server.address;
        drop(server);
        assert!(TcpListener::bind(address).is_ok());
    }
}
