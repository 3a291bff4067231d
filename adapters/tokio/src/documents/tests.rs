use http::Request;
use mcp_auth::{Mono, TransportError, TransportErrorKind, UnixTime};

use super::*;

const MINUTES: Duration = Duration::from_secs(300);

fn at(seconds: u64) -> Now {
    Now { wall: UnixTime(1_700_000_000 + seconds), mono: Mono(Duration::from_secs(50 + seconds)) }
}

fn key(url: &str) -> Key {
    Key {
        method: Method::GET,
        uri: url.parse().unwrap(),
        headers: vec![(http::header::ACCEPT, HeaderValue::from_static("application/json"))],
        purpose: Purpose::ServerMetadata,
        limits: Limits { deadline: MINUTES, max_body: 1 << 20, head_only: false },
        reach: Reach::anywhere(),
    }
}

fn answer(body: usize) -> Answer {
    Answer { result: Ok(Response::new(vec![b' '; body])), came: at(0), life: MINUTES }
}

fn has(shelf: &mut Shelf, key: &Key, now: Now) -> bool {
    shelf.find(key, now).is_ok()
}

#[test]
fn it_is_handed_on_until_its_time_is_over_by_either_clock() {
    let (mut shelf, key) = (Shelf::default(), key("https://a.example/"));
    let mut kept = |now: Now| {
        shelf.put(&key, &answer(9));
        shelf.find(&key, now).ok().map(|answer| answer.handed_on(now).1.as_secs())
    };
    assert_eq!([0, 1, 299].map(|seconds| kept(at(seconds))), [Some(0), Some(1), Some(299)]);
    assert_eq!([300, 1000].map(|seconds| kept(at(seconds))), [None; 2]);
    // The machine slept; the wall clock was set forward, or back.
    assert_eq!(kept(Now { mono: at(10).mono, ..at(290) }), Some(290));
    assert_eq!(kept(Now { mono: at(10).mono, ..at(310) }), None);
    assert_eq!(kept(Now { wall: UnixTime(0), ..at(290) }), Some(290));
    assert_eq!(kept(Now { wall: UnixTime(0), ..at(310) }), None);
}

#[test]
fn whatever_may_change_the_answer_makes_it_another() {
    let known = key("https://a.example/.well-known/x?y=1");
    let with = |change: &dyn Fn(&mut Key)| {
        let mut key = known.clone();
        change(&mut key);
        key
    };
    let account = (http::HeaderName::from_static("x-api-key"), HeaderValue::from_static("hers"));
    let private = Reach::of_server_at([10, 0, 0, 1].into());
    let public = Reach::of_server_at([93, 184, 216, 34].into());
    let others = [
        with(&|key| key.uri = "https://a.example/.well-known/x?y=2".parse().unwrap()),
        with(&|key| key.uri = "https://a.example:8443/.well-known/x?y=1".parse().unwrap()),
        with(&|key| key.uri = "http://a.example/.well-known/x?y=1".parse().unwrap()),
        with(&|key| key.method = Method::HEAD),
        with(&|key| key.headers.push(account.clone())),
        with(&|key| key.headers[0].1 = HeaderValue::from_static("text/html")),
        with(&|key| key.purpose = Purpose::ResourceMetadata),
        with(&|key| key.limits.max_body = 1),
        with(&|key| key.reach = private.clone()),
        with(&|key| key.reach = public.clone()),
    ];
    let mut shelf = Shelf::default();
    shelf.put(&known, &answer(9));
    assert!(has(&mut shelf, &known.clone(), at(1)));
    for (at_which, other) in others.iter().enumerate() {
        assert!(!has(&mut shelf, other, at(1)), "number {at_which}");
        shelf.put(other, &answer(9));
    }
    assert_eq!(shelf.kept.len(), 1 + others.len());
}

#[test]
fn what_is_kept_has_bounds_and_makes_room_when_its_time_is_over() {
    let mut shelf = Shelf::default();
    let url = |number: usize| key(&format!("https://a.example/{number}"));
    let empty = Answer { life: Duration::ZERO, ..answer(9) };
    let mut fields = Response::new(Vec::new());
    let long = HeaderValue::from_str(&"a".repeat(LARGEST)).unwrap();
    fields.headers_mut().insert("x-long", long);
    let fields = Answer { result: Ok(fields), ..answer(0) };
    for large in [empty, answer(LARGEST), fields] {
        shelf.put(&url(0), &large);
        assert!(shelf.kept.is_empty());
    }
    let long = key(&format!("https://a.example/{}", "a".repeat(60_000)));
    shelf.put(&long, &answer(6_000));
    assert!(shelf.kept.is_empty());

    for number in 0..MOST + 10 {
        shelf.put(&url(number), &answer(LARGEST - 10));
    }
    assert_eq!(shelf.kept.len(), MOST);
    assert!(has(&mut shelf, &url(0), at(1)) && !has(&mut shelf, &url(MOST), at(1)));
    // Those who ask at the same time wait for one another all the same.
    let (first, second) = (shelf.find(&url(MOST), at(1)), shelf.find(&url(MOST), at(1)));
    let (Err(first), Err(second)) = (first, second) else { panic!("it was kept") };
    assert!(Arc::ptr_eq(&first, &second));

    assert!(!has(&mut shelf, &url(0), at(300)) && shelf.kept.is_empty());
}

#[test]
fn who_asks_after_a_failure_came_asks_anew() {
    let (mut shelf, key) = (Shelf::default(), key("https://a.example/"));
    let Err(cell) = shelf.find(&key, at(0)) else { panic!("nothing has come") };
    let failed = Err(TransportError::new(TransportErrorKind::Timeout, "cut off"));
    shelf.put(&key, &Answer { result: failed, came: at(0), life: Duration::ZERO });
    let Err(other) = shelf.find(&key, at(0)) else { panic!("it was kept") };
    assert!(!Arc::ptr_eq(&cell, &other));
}

#[test]
fn of_the_clients_extensions_the_servers_address_alone_is_kept() {
    let mut response = Response::new(b"{}".to_vec());
    let peer = PeerAddress([127, 0, 0, 1].into());
    response.extensions_mut().insert(peer);
    response.extensions_mut().insert("a connection");
    let response = bare(response);
    assert_eq!(response.extensions().get(), Some(&peer));
    assert_eq!(response.extensions().len(), 1);
    assert!(bare(Response::new(Vec::new())).extensions().is_empty());
}

mod at_a_server {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mcp_auth::{Action, AuthMachine, Config, Demand, Entropy, Event, Output};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::http_client::Answering;

    /// Answers once it is let go.
    struct Slow {
        sent: AtomicUsize,
        gate: Semaphore,
    }

    impl Default for Slow {
        fn default() -> Self {
            Self { sent: AtomicUsize::new(0), gate: Semaphore::new(0) }
        }
    }

    impl HttpClient for Slow {
        fn send(&self, _: Request<Vec<u8>>, _: Limits, _: Reach) -> Answering<'_> {
            self.sent.fetch_add(1, Ordering::SeqCst);
            Box::pin(async {
                drop(self.gate.acquire().await);
                let document = br#"{"resource":"https://mcp.example.com/mcp"}"#;
                Ok(Response::new(document.to_vec()))
            })
        }
    }

    /// The first document that a session asks for.
    fn call() -> HttpCall {
        let url = "https://mcp.example.com/mcp";
        let entropy = Entropy::from_bytes([7; 32]);
        let mut machine = AuthMachine::new(url, Arc::new(Config::default()), entropy).unwrap();
        machine.handle(at(0), Event::Demand(Demand::inspect()));
        loop {
            let event = match machine.poll_output() {
                Output::Do(Action::Load(call)) => call.answer(Ok(None)),
                Output::Do(Action::Http(call)) if call.is_shareable() => return call,
                Output::Do(Action::Http(call)) => {
                    let refused = Response::builder().status(401).body(Vec::new());
                    call.answer(Ok(refused.unwrap()))
                }
                Output::Wait(_) => panic!("it asks for nothing"),
                _ => continue,
            };
            machine.handle(at(0), event);
        }
    }

    #[tokio::test]
    async fn whoever_waits_is_served_when_the_first_is_dropped_and_nothing_is_left_of_it() {
        let client = Arc::<Slow>::default();
        let documents = Arc::new(Documents::new(client.clone()));
        let sent = || client.sent.load(Ordering::SeqCst);
        let ask = || {
            let documents = documents.clone();
            tokio::spawn(async move { documents.ask(&call()).await.0.unwrap().status() })
        };
        let (first, second, third) = (ask(), ask(), ask());
        let turns = || async {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        };
        turns().await;
        assert_eq!(sent(), 1);
        first.abort();
        turns().await;
        assert_eq!(sent(), 2);
        second.abort();
        turns().await;
        assert_eq!((sent(), documents.shelf().wanted.len()), (3, 1));
        client.gate.add_permits(1);
        assert_eq!(third.await.unwrap(), 200);
        assert_eq!(ask().await.unwrap(), 200);
        assert_eq!((sent(), documents.shelf().wanted.len()), (3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_misses_its_limits_keeps_nobody_who_comes_later() {
        let client = Arc::<Slow>::default();
        let documents = Documents::new(client.clone());
        let (call, start) = (call(), tokio::time::Instant::now());
        let error = documents.ask(&call).await.0.unwrap_err();
        assert_eq!(error.kind, TransportErrorKind::Timeout);
        let gone = start.elapsed();
        let limit = call.limits().deadline;
        assert!(limit < gone && gone < 3 * limit, "{gone:?}");
        assert!(documents.shelf().wanted.is_empty() && documents.shelf().kept.is_empty());
        // Nor does it go on by itself: the client alone is left.
        while Arc::strong_count(&client) > 2 {
            tokio::task::yield_now().await;
        }
        client.gate.add_permits(1);
        assert_eq!(documents.ask(&call).await.0.unwrap().status(), 200);
        assert_eq!(client.sent.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn nothing_is_left_where_all_are_dropped() {
        let client = Arc::<Slow>::default();
        let documents = Arc::new(Documents::new(client.clone()));
        let all: Vec<_> = (0..5)
            .map(|_| {
                let documents = documents.clone();
                tokio::spawn(async move { documents.ask(&call()).await.1 })
            })
            .collect();
        while client.sent.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for one in all {
            one.abort();
            assert!(one.await.unwrap_err().is_cancelled());
        }
        assert!(documents.shelf().wanted.is_empty() && documents.shelf().kept.is_empty());
    }
}
