use super::*;
use crate::{Canned, Fault, NetworkError, Outcome, What};

#[test]
fn a_fault_befalls_one_request_and_is_spent() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    let busy = Canned::new(503, "<html>").header("retry-after", "30");
    world.faults.push(Fault::answer("POST", "/token", busy));
    let broken = refresh(&mut world, NOW, &login.client, &login.refresh);
    assert_eq!(
        (broken.status().as_u16(), &broken.headers()["retry-after"]),
        (503, &"30".try_into().unwrap())
    );
    assert!(world.faults.is_empty());
    assert_eq!(world.token_requests().last().unwrap().outcome, Outcome::Unheard);
    assert_eq!(refresh(&mut world, NOW, &login.client, &login.refresh).status(), 200);
    assert_eq!(world.count(What::Refreshes), 2);
    assert!(!world.reuse_seen());
}

#[test]
fn a_lost_answer_has_spent_the_refresh_token_all_the_same() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    world.faults.push(Fault::answer_lost("POST", "/token"));
    let fields = refresh_fields(&login.client, &login.refresh);
    let lost = world.handle(NOW, &form_post(&format!("{AUTH}/token"), &fields));
    assert_eq!(lost.unwrap_err(), NetworkError::Reset);
    assert_eq!(world.token_requests().last().unwrap().outcome, Outcome::Granted);
    assert!(!world.authorization[0].takes_refresh_token(NOW, &login.refresh));
    assert_eq!(error(&refresh(&mut world, NOW, &login.client, &login.refresh)), "invalid_grant");
}

#[test]
fn faults_wait_for_their_origin_and_their_turn() {
    let mut world = World::new();
    let elsewhere = Fault::fails("*", "*", NetworkError::Tls).at("https://other.example.com");
    let third = Fault::fails("GET", "*", NetworkError::TimedOut).at(AUTH).after(1).times(2);
    world.faults.extend([elsewhere, third]);
    let url = world.authorization[0].metadata_url().unwrap();
    let request = Request::get(url).body(Vec::new()).unwrap();
    let outcomes: Vec<_> =
        (0..4).map(|_| world.handle(NOW, &request).map(|r| r.status().as_u16())).collect();
    let timed_out = Err(NetworkError::TimedOut);
    assert_eq!(outcomes, [Ok(200), timed_out, timed_out, Ok(200)]);
    assert_eq!(world.count(What::ServerMetadata), 4);
    assert_eq!(world.faults.len(), 1);
}

#[test]
fn the_browser_meets_faults_too() {
    let mut world = World::new();
    let client = register_at(&mut world, AUTH);
    let url = authorize_url(AUTH, &client, &[]);
    world.faults.push(Fault::answer("GET", "/authorize", Canned::new(422, "Unrecognized")));
    let visit = world.visit(NOW, &url, &Person::Approves);
    assert_eq!(visit, Visit::Page("Unrecognized".to_owned()));
    let hijacked = Canned::redirect(302, "http://127.0.0.1:1/callback?code=a&code=b");
    world.faults.push(Fault::answer("GET", "/authorize", hijacked));
    let visit = world.visit(NOW, &url, &Person::Approves);
    assert_eq!(visit, Visit::Redirect("http://127.0.0.1:1/callback?code=a&code=b".to_owned()));
    world.faults.push(Fault::answer_lost("GET", "/authorize"));
    assert_eq!(world.visit(NOW, &url, &Person::Approves), Visit::Nothing);
}
