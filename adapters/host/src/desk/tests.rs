use mcp_auth::Action;

use super::*;
use crate::hands::Hands;
use crate::setup::{Opened, Setup};

fn opened() -> (Desk, Hands) {
    let opened = Setup::new("https://mcp.example.com/mcp".to_owned()).open().unwrap();
    let Opened { desk, hands, .. } = opened;
    (desk, hands)
}

/// Does all there is to do, at a store alone.
fn work(desk: &mut Desk, hands: &Hands) {
    while let Some(job) = desk.next_job() {
        match job {
            Job::Do(Action::Load(call)) => {
                let loaded = hands.load(&call, call.deadline()).map(|(record, _lock)| record);
                desk.feed(call.answer(loaded));
            }
            Job::Do(Action::Save(call)) => {
                let saved = hands.save(&call);
                desk.feed(call.answer(saved));
            }
            Job::Do(other) => panic!("{other:?}"),
            _ => desk.notices.clear(),
        }
    }
}

#[test]
fn whoever_comes_late_for_a_report_gets_the_one_of_their_own_logout() {
    let (mut desk, hands) = opened();
    let (mut first, mut second) = (LogOut::default(), LogOut::default());
    first.begin(&mut desk);
    work(&mut desk, &hands);
    assert!(first.is_done(&desk));
    // Before who began it has come for its report, somebody else logs out.
    second.begin(&mut desk);
    work(&mut desk, &hands);
    for logout in [first, second] {
        assert!(logout.end(&mut desk).unwrap().unwrap().is_complete());
    }
}
