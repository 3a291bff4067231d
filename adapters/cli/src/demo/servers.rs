//! The simulated MCP server and authorization server behind sockets of this machine.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Request, Response, StatusCode};
use mcp_auth_host::serve::{Listening, Server};
use mcp_auth_host::system::clock;
use mcp_auth_world::World;

/// Both servers. They stop when this is dropped.
pub struct Servers {
    /// The MCP endpoint.
    pub mcp: String,
    /// The authorization server's issuer.
    pub issuer: String,
    shared: Arc<Shared>,
    _sockets: [Server; 2],
}

struct Shared {
    world: Mutex<World>,
    /// How far the servers' clock is ahead, in seconds.
    ahead: AtomicU64,
}

impl Servers {
    pub fn start() -> io::Result<Self> {
        let (mcp, authorization) = (Listening::bind()?, Listening::bind()?);
        let (url, issuer) = (format!("{}/mcp", mcp.url()), authorization.url());
        let mut world = World::with_urls(&url, &[&issuer]);
        for server in &mut world.authorization {
            server.registration.manageable = true;
        }
        let world = Mutex::new(world);
        let shared = Arc::new(Shared { world, ahead: AtomicU64::new(0) });
        let _sockets = [shared.serve(mcp)?, shared.serve(authorization)?];
        Ok(Self { mcp: url, issuer, shared, _sockets })
    }

    /// Looks at, or changes, what the servers are and have seen.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Moves the servers' clock.
    pub fn pass(&self, seconds: u64) {
        self.shared.ahead.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, socket: Listening) -> io::Result<Server> {
        let shared = self.clone();
        socket.start(move |request| shared.answer(&request))
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        let now = clock().0.saturating_add(self.ahead.load(Ordering::SeqCst));
        self.world().handle(now, request).unwrap_or_else(|_| {
            // A gateway would say so.
            let mut failure = Response::new(Vec::new());
            *failure.status_mut() = StatusCode::BAD_GATEWAY;
            failure
        })
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
