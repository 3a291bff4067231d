//! Documents that the sessions of a registry share: of those who ask for one at the same time, one
//! sends, and what came is kept for as long as the core says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Response, Uri};
use mcp_auth::output::{HttpCall, Limits, Purpose};
use mcp_auth::{Now, PeerAddress, Reach};
use mcp_auth_host::desk::now;
use tokio::sync::OnceCell;

use crate::http_client::{HttpClient, HttpResult, send};

/// Documents of more servers than most programs meet within minutes.
const MOST: usize = 256;
/// Bytes of one, with its header fields and its URL; documents of real servers have some thousand.
const LARGEST: usize = 64 << 10;

/// What one HTTP client was answered.
pub(crate) struct Documents {
    client: Arc<dyn HttpClient>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// Requests that somebody waits for.
    wanted: HashMap<Key, Arc<OnceCell<Answer>>>,
    /// Never more than [`MOST`].
    kept: HashMap<Key, Answer>,
}

/// Everything that an answer may depend on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    purpose: Purpose,
    limits: Limits,
    reach: Reach,
}

#[derive(Clone)]
struct Answer {
    result: HttpResult,
    came: Now,
    /// For how long it may be handed on.
    life: Duration,
}

impl Documents {
    pub(crate) fn new(client: Arc<dyn HttpClient>) -> Self {
        Self { client, shelf: Mutex::default() }
    }

    /// Whether they were got by that client.
    pub(crate) fn are_of(&self, client: &Arc<dyn HttpClient>) -> bool {
        Arc::ptr_eq(&self.client, client)
    }

    /// What a [shareable](HttpCall::is_shareable) call is answered, and how long ago that came.
    ///
    /// Cancel safe: if whoever sends is dropped, the next one who waits sends.
    pub(crate) async fn ask(&self, call: &HttpCall) -> (HttpResult, Duration) {
        let key = Key::of(call);
        let found = self.shelf().find(&key, now());
        let wish = match found {
            Ok(kept) => return kept.handed_on(now()),
            Err(cell) => Wish { documents: self, key, cell },
        };
        let answer = wish.cell.get_or_init(|| async {
            let result = send(self.client.clone(), call, call.limits(), None).await.map(bare);
            let answer = Answer { life: call.share_for(&result), result, came: now() };
            self.shelf().put(&wish.key, &answer);
            answer
        });
        answer.await.handed_on(now())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// An answer that is there, or where one is to be waited for.
    fn find(&mut self, key: &Key, now: Now) -> Result<Answer, Arc<OnceCell<Answer>>> {
        self.kept.retain(|_, answer| answer.is_fresh(now));
        let wanted = || self.wanted.entry(key.clone()).or_default().clone();
        self.kept.get(key).cloned().ok_or_else(wanted)
    }

    /// Whoever comes from now on finds it here, or asks anew.
    fn put(&mut self, key: &Key, answer: &Answer) {
        self.wanted.remove(key);
        let fits = self.kept.len() < MOST && key.size() + answer.size() <= LARGEST;
        if fits && !answer.life.is_zero() {
            self.kept.insert(key.clone(), answer.clone());
        }
    }
}

impl Key {
    fn of(call: &HttpCall) -> Self {
        let request = call.request();
        let fields = request.headers().iter();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: fields.map(|(name, value)| (name.clone(), value.clone())).collect(),
            purpose: call.purpose(),
            limits: call.limits(),
            reach: call.reach().clone(),
        }
    }

    fn size(&self) -> usize {
        self.uri.path().len() + self.uri.query().map_or(0, str::len)
    }
}

impl Answer {
    /// By the clock that says more: one stands still while a machine sleeps, the other may be set.
    fn age(&self, now: Now) -> Duration {
        self.came.mono.until(now.mono).max(self.came.wall.until(now.wall))
    }

    fn is_fresh(&self, now: Now) -> bool {
        self.age(now) < self.life
    }

    fn handed_on(&self, now: Now) -> (HttpResult, Duration) {
        (self.result.clone(), self.age(now))
    }

    fn size(&self) -> usize {
        let Ok(response) = &self.result else { return 0 };
        let fields = response.headers().iter();
        fields.map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
            + response.body().len()
    }
}

/// Only what the core reads: extensions of the client's own may hold whole connections.
fn bare(mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
    let peer = response.extensions_mut().remove::<PeerAddress>();
    response.extensions_mut().clear();
    peer.map(|peer| response.extensions_mut().insert(peer));
    response.body_mut().shrink_to_fit();
    response
}

/// Somebody who waits.
struct Wish<'a> {
    documents: &'a Documents,
    key: Key,
    cell: Arc<OnceCell<Answer>>,
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        let mut shelf = self.documents.shelf();
        // Under the lock: of those who leave at once, one is the last.
        drop(std::mem::take(&mut self.cell));
        if shelf.wanted.get(&self.key).is_some_and(|cell| Arc::strong_count(cell) == 1) {
            shelf.wanted.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
