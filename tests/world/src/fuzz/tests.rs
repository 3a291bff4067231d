//! The seeds keep the laws, random stories get somewhere, and the laws can be broken.

use std::fs;
use std::path::Path;

use mcp_auth::output::Purpose;
use mcp_auth::{AuthMachine, Config, Entropy, Mono, Need, Now, Secret, TokenState};

use super::laws::Laws;
use super::op::{self, Op};
use super::play::Play;
use super::secrets::{Home, Secrets};
use crate::What;

const DEMAND: Op = Op::Demand { welcome: true, fresh: false, inspect: false, need: 0 };

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    files.collect()
}

#[test]
fn every_seed_keeps_the_laws() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 12] = [
        ("challenge", super::challenge),
        ("claims", super::claims),
        ("config", super::config),
        ("device_reply", super::device_reply),
        ("machine", super::machine),
        ("reach", super::reach),
        ("record", super::record),
        ("redirect", super::redirect),
        ("registration_reply", super::registration_reply),
        ("resource_metadata", super::resource_metadata),
        ("server_metadata", super::server_metadata),
        ("token_reply", super::token_reply),
    ];
    for (name, target) in targets {
        let seeds = seeds(name);
        assert!(seeds.len() >= 4, "{name}");
        seeds.iter().for_each(|seed| target(seed));
    }
}

#[test]
fn a_story_logs_in_refreshes_and_steps_up() {
    let mut play = Play::new(Config::default()).unwrap();
    for op in [DEMAND, Op::Run, Op::Advance(5), DEMAND, Op::Run, Op::Call(1)] {
        play.perform(0, op);
    }
    play.perform(0, Op::Demand { welcome: true, fresh: false, inspect: false, need: 1 });
    play.perform(0, Op::Run);
    assert_eq!(play.world.count(What::CodeExchanges), 2);
    assert_eq!(play.world.count(What::Refreshes), 1);
    play.end();
}

#[test]
fn a_story_reads_a_secret_that_the_settings_name_each_time_it_is_needed() {
    let mut play = Play::new(super::settings::pick(7)).unwrap();
    for op in [DEMAND, Op::Run, Op::Advance(5), DEMAND, Op::Run, Op::Logout, Op::Run] {
        play.perform(0, op);
    }
    assert_eq!(play.world.count(What::CodeExchanges), 1);
    assert_eq!(play.world.count(What::Refreshes), 1);
    assert_eq!(play.world.count(What::Revocations), 2);
    assert_eq!(play.world.count(What::Registrations), 0);
    play.end();
}

#[test]
fn a_story_logs_out_at_the_servers_too() {
    let mut play = Play::new(Config::default()).unwrap();
    for op in [DEMAND, Op::Run, Op::Logout, Op::Step, DEMAND, Op::Run] {
        play.perform(0, op);
    }
    assert_eq!(play.world.count(What::Revocations), 2);
    assert_eq!(play.world.count(What::CodeExchanges), 2);
    play.end();
}

#[test]
fn a_story_renews_a_secret_once_for_two_programs() {
    let mut play = Play::new(Config::default()).unwrap();
    let background = Op::Demand { welcome: false, fresh: false, inspect: false, need: 0 };
    for op in [Op::World(32), DEMAND, Op::Run, Op::Advance(6)] {
        play.perform(0, op);
    }
    for at in [1, 0] {
        play.perform(at, background);
        play.perform(at, Op::Run);
    }
    assert_eq!(play.world.count(What::RegistrationUpdates), 1);
    assert_eq!(play.world.registrations(), 1);
    play.end();
}

#[test]
fn a_story_shows_a_code_to_one_of_two_programs() {
    let mut play = Play::new(super::settings::pick(10)).unwrap();
    play.perform(0, Op::World(25));
    for at in [0, 1] {
        play.perform(at, DEMAND);
        play.perform(at, Op::Run);
    }
    play.perform(0, Op::World(42));
    for _ in 0..40 {
        play.perform(0, Op::ToDeadline);
        play.perform(0, Op::Run);
    }
    assert_eq!(play.world.count(What::DeviceAuthorizations), 1);
    assert!((3..30).contains(&play.world.count(What::Polls)), "slower and slower");
    // The code ends without having been entered; the next one is.
    play.perform(0, Op::World(23));
    for _ in 0..2 {
        for _ in 0..80 {
            play.perform(0, Op::Run);
            play.perform(0, Op::ToDeadline);
        }
        play.perform(0, DEMAND);
    }
    play.perform(0, Op::Call(0));
    assert_eq!(play.world.count(What::CodeExchanges), 0);
    assert!(play.world.newest_access_token().is_some());
    play.end();
}

#[test]
fn a_story_goes_on_by_code_where_no_browser_can_be_opened() {
    let mut play = Play::new(Config::default()).unwrap();
    play.perform(0, Op::World(40));
    assert!(play.wait_for_person().is_some());
    play.perform(0, Op::Prompt(2));
    for op in [Op::Run, Op::ToDeadline, Op::Run, Op::ToDeadline, Op::Run] {
        play.perform(0, op);
    }
    assert_eq!(play.world.registrations(), 2);
    assert!(play.world.count(What::Polls) > 0 && play.world.newest_access_token().is_some());
    play.end();
}

#[test]
fn a_story_is_told_for_people() {
    let told = super::told(&[9, 8, 0, 0, 0, 192 + 52, 0, 0, 0, 1]);
    assert_eq!(told, "settings 9\n    program 0: Run\n    program 1: Forget");
    assert_eq!(op::story(&[0; 4 * 1000]).count(), 96);
}

fn record(generation: u64, access: &str, refresh: &str) -> Vec<u8> {
    let tokens = serde_json::json!({
        "generation": generation, "access_token": access, "refresh_token": refresh,
    });
    serde_json::json!({ "tokens": tokens }).to_string().into_bytes()
}

#[test]
#[should_panic = "the newest refresh token is saved no more"]
fn a_record_without_the_newest_refresh_token_is_seen() {
    let mut laws = Laws::default();
    laws.adopted(Some(&record(1, "access", "refresh")), None);
    laws.saving(Some(&record(2, "another", "stale")), Mono::default());
}

#[test]
#[should_panic = "two tokens of"]
fn a_generation_that_is_used_twice_is_seen() {
    let mut laws = Laws::default();
    laws.saving(Some(&record(1, "access", "refresh")), Mono::default());
    laws.saving(Some(&record(1, "another", "refresh")), Mono::default());
}

#[test]
#[should_panic = "lent before it was saved"]
fn a_loan_before_the_save_is_seen() {
    let bearer_token = Some(Secret::from("never-saved"));
    let config = Config { bearer_token, ..Config::default() };
    let seed = Entropy::from_bytes([1; 32]);
    let machine = AuthMachine::new(super::play::SERVER, config.into(), seed).unwrap();
    let TokenState::Ready(grant) = machine.token(Now::default(), &Need::default()) else {
        panic!("no grant")
    };
    Laws::default().lent(&grant, &Default::default(), Mono::default());
}

#[test]
#[should_panic = "a prompt that no running demand welcomes"]
fn a_browser_that_nobody_welcomed_is_seen() {
    let config = Config::default().into();
    let seed = Entropy::from_bytes([1; 32]);
    let machine = AuthMachine::new(super::play::SERVER, config, seed).unwrap();
    Laws::default().assert_welcome(&machine);
}

#[test]
#[should_panic = "a notice shows a secret"]
fn a_secret_in_a_notice_is_seen() {
    let mut secrets = Secrets::default();
    secrets.add("refresh-token-0001", None);
    secrets.assert_hidden("a notice", "sent refresh-token-0001");
}

#[test]
#[should_panic = "a secret is shown"]
fn a_reply_that_shows_its_secret_is_seen() {
    // In the middle of its other text, and cut short.
    #[derive(Debug)]
    #[expect(dead_code, reason = "printed")]
    struct Leaky(String, Secret);
    let read = |body: &[u8]| {
        let secret = String::from_utf8(body.strip_prefix(b"token=")?.to_vec()).ok()?;
        Some(Leaky(format!("starts with {}", &secret[..2]), Secret::new(secret)))
    };
    super::wire::assert_hides(b"token=abcdef", read, |Leaky(_, secret)| [Some(secret)]);
}

#[test]
fn what_the_server_wrote_twice_is_no_secret_that_is_shown() {
    let read = |body: &[u8]| {
        let (open, secret) = std::str::from_utf8(body).ok()?.split_once(' ')?;
        Some((open.to_owned(), Secret::new(secret.to_owned())))
    };
    for body in ["word word", "word", "word Secret(4 by"] {
        super::wire::assert_hides(body.as_bytes(), read, |(_, secret)| [Some(secret)]);
    }
}

#[test]
#[should_panic = "is shown a secret that belongs to"]
fn a_refresh_token_for_a_stranger_is_seen() {
    let mut secrets = Secrets::default();
    secrets.add("refresh-token-0001", Some(Home::At("https://auth.example.com".to_owned())));
    let body = b"refresh_token=refresh-token-0001".to_vec();
    let request = http::Request::post("https://stray.example/token").body(body).unwrap();
    secrets.assert_home(&request, Purpose::Token);
}
