//! The bodies of the fuzz targets in `fuzz/`, here so that the ordinary build checks them and other
//! tests can use them. Each takes any bytes, and panics where a law is broken; what a law says is
//! written where it is checked.

mod host;
mod laws;
mod op;
mod play;
mod secrets;
mod settings;
mod twist;
mod wire;

#[cfg(test)]
mod tests;

use mcp_auth::Config;
use mcp_auth::toolhive::RemoteConfig;

use op::Op;
use play::Play;

pub use wire::{
    challenge, claims, device_reply, reach, redirect, registration_reply, resource_metadata,
    server_metadata, token_reply,
};

/// Whole machines: the first byte picks the settings, and each four bytes are something that
/// happens to one of two programs, which share a store, or in the world around them.
pub fn machine(data: &[u8]) {
    let Some((settings, story)) = data.split_first() else { return };
    let Some(mut play) = Play::new(settings::pick(*settings)) else { return };
    for (at, op) in op::story(story) {
        play.perform(at, op);
    }
    play.end();
}

/// The story that [`machine`] reads from bytes, one thing a line, for people.
pub fn told(data: &[u8]) -> String {
    let Some((settings, story)) = data.split_first() else { return String::new() };
    let lines = op::story(story).map(|(at, op)| format!("\n    program {at}: {op:?}"));
    format!("settings {}{}", settings % settings::MANY, lines.collect::<String>())
}

/// A stored record, genuine or not: it is read, used, renewed and replaced.
pub fn record(data: &[u8]) {
    let Some(mut play) = Play::new(Config::default()) else { return };
    play.store(data);
    let demand = Op::Demand { welcome: true, fresh: false, inspect: false, need: 0 };
    for op in [demand, Op::Step, Op::Call(0), demand, Op::Run, Op::Call(1), demand, Op::Run] {
        play.perform(0, op);
    }
    play.end();
}

/// Settings in their JSON form, ours or ToolHive's.
pub fn config(data: &[u8]) {
    if let Ok((remote, _)) = RemoteConfig::from_json(data) {
        let written = remote.to_json();
        let again = RemoteConfig::from_json(written.expose());
        assert!(
            again.is_ok_and(|(again, warnings)| again == remote && warnings.is_empty()),
            "settings of ToolHive's that can't be read again"
        );
        use_settings(data, remote.import().config);
    }
    if let Ok(config) = serde_json::from_slice::<Config>(data) {
        use_settings(data, config);
    }
}

/// Laws: settings are what they are written as, and a machine has those that are checked.
fn use_settings(data: &[u8], config: Config) {
    let written = serde_json::to_vec(&config).unwrap_or_default();
    let Ok(again) = serde_json::from_slice::<Config>(&written) else {
        panic!("settings that can't be read again")
    };
    assert_eq!(serde_json::to_vec(&again).unwrap_or_default(), written, "settings that change");
    assert_eq!(config.check().is_ok(), again.check().is_ok());
    if config.check().is_err() {
        assert!(Play::new(config).is_none(), "settings that are refused, and used");
        return;
    }
    let made_of = String::from_utf8_lossy(data);
    let Some(mut play) = Play::new(settings::playable(config, &made_of)) else {
        panic!("settings that are checked, and refused")
    };
    play.guessed(&format!("{made_of}{}", String::from_utf8_lossy(&written)));
    play.perform(0, Op::Demand { welcome: true, fresh: false, inspect: false, need: 0 });
    for op in [Op::Run, Op::Call(0), Op::Run] {
        play.perform(0, op);
    }
    play.end();
}
