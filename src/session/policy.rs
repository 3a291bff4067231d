//! The table that decides what a demand leads to. Pure, and the only place that decides it.
//!
//! | tokens | refused | freshness | scopes | then |
//! |---|---|---|---|---|
//! | none | | | | log in |
//! | yes | 401, not by a recovery | | | refresh, else log in |
//! | yes | 401, just refreshed for that, without scopes | | | refresh, naming them; else log in |
//! | yes | 401, just refreshed for that, with scopes | | | log in |
//! | yes | 401, just logged in for that | | | fail |
//! | yes | no | stale or expired | | refresh; expired without refresh token: log in |
//! | yes | 403 | fresh | something new, rounds left | step up |
//! | yes | 403 | fresh | nothing new, or no rounds left | fail |
//! | yes | no | fresh | some never asked for | step up |
//! | yes | no | fresh | all asked for | keep |

use crate::error::ErrorKind;
use crate::session::Recovery;
use crate::session::record::StepUp;
use crate::session::tokens::Freshness;
use crate::wire::scope::ScopeSet;

/// What a demand leads to.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Keep,
    Refresh,
    LogIn,
    /// A login with more scopes.
    StepUp,
    Fail(ErrorKind),
}

/// What is known about the tokens at hand.
pub(crate) struct TokenFacts<'a> {
    pub(crate) freshness: Freshness,
    pub(crate) refreshable: bool,
    /// Refused with 401.
    pub(crate) refused: bool,
    pub(crate) recovery: Recovery,
    /// Perhaps it was the refresh that brought the wrong token.
    pub(crate) may_need_scopes: bool,
    pub(crate) granted: &'a ScopeSet,
}

/// Everything that the decision rests on.
pub(crate) struct Facts<'a> {
    pub(crate) tokens: Option<TokenFacts<'a>>,
    /// Scopes that are needed and were never asked for.
    pub(crate) missing: &'a ScopeSet,
    /// The 403 that these very tokens got for the operation.
    pub(crate) step_up: Option<&'a StepUp>,
    pub(crate) limit: u8,
}

pub(crate) fn plan(facts: &Facts<'_>) -> Plan {
    let Some(tokens) = &facts.tokens else { return Plan::LogIn };
    if tokens.refused {
        return match tokens.recovery {
            Recovery::None if tokens.refreshable => Plan::Refresh,
            Recovery::Refreshed if tokens.refreshable && tokens.may_need_scopes => Plan::Refresh,
            Recovery::None | Recovery::Refreshed => Plan::LogIn,
            Recovery::LoggedIn => Plan::Fail(ErrorKind::FreshTokenRefused),
        };
    }
    // Before a step-up too: some servers call an expired token insufficient.
    match tokens.freshness {
        Freshness::Fresh => {}
        _ if tokens.refreshable => return Plan::Refresh,
        Freshness::Expired => return Plan::LogIn,
        Freshness::Stale => {}
    }
    match facts.step_up {
        Some(step_up) if tokens.granted.contains_all(&step_up.scopes) => {
            limit(step_up.rounds, "it asks for nothing that the token doesn't have")
        }
        Some(step_up) if step_up.rounds >= facts.limit => {
            limit(step_up.rounds, "the limit is reached")
        }
        Some(_) => Plan::StepUp,
        None if facts.missing.is_empty() => Plan::Keep,
        None => Plan::StepUp,
    }
}

fn limit(rounds: u8, why: &str) -> Plan {
    Plan::Fail(ErrorKind::StepUpLimit { rounds, why: why.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tokens::Generation;

    /// A row of the table, written as what is out of the ordinary.
    struct Row {
        freshness: Freshness,
        refreshable: bool,
        refused: bool,
        recovery: Recovery,
        may_need_scopes: bool,
        granted: &'static str,
        missing: &'static str,
        step_up: Option<(&'static str, u8)>,
    }

    const ORDINARY: Row = Row {
        freshness: Freshness::Fresh,
        refreshable: true,
        refused: false,
        recovery: Recovery::None,
        may_need_scopes: false,
        granted: "read",
        missing: "",
        step_up: None,
    };

    fn decide(row: Row) -> &'static str {
        let (granted, missing) = (ScopeSet::parse(row.granted), ScopeSet::parse(row.missing));
        let step_up = row.step_up.map(|(scopes, rounds)| StepUp {
            scopes: ScopeSet::parse(scopes),
            rounds,
            refused: Some(Generation::default()),
            ..StepUp::new(None)
        });
        let tokens = TokenFacts {
            freshness: row.freshness,
            refreshable: row.refreshable,
            refused: row.refused,
            recovery: row.recovery,
            may_need_scopes: row.may_need_scopes,
            granted: &granted,
        };
        let step_up = step_up.as_ref();
        match plan(&Facts { tokens: Some(tokens), missing: &missing, step_up, limit: 3 }) {
            Plan::Keep => "keep",
            Plan::Refresh => "refresh",
            Plan::LogIn => "log in",
            Plan::StepUp => "step up",
            Plan::Fail(ErrorKind::FreshTokenRefused) => "fail: fresh token",
            Plan::Fail(ErrorKind::StepUpLimit { .. }) => "fail: step-up",
            Plan::Fail(_) => "fail",
        }
    }

    #[test]
    fn the_table_is_what_the_function_does() {
        use Freshness::{Expired, Stale};
        assert_eq!(decide(ORDINARY), "keep");
        // Refused: one refresh, one login, then the end.
        assert_eq!(decide(Row { refused: true, ..ORDINARY }), "refresh");
        assert_eq!(decide(Row { refused: true, refreshable: false, ..ORDINARY }), "log in");
        let recovery = Recovery::Refreshed;
        assert_eq!(decide(Row { refused: true, recovery, ..ORDINARY }), "log in");
        let row = || Row { refused: true, recovery, may_need_scopes: true, ..ORDINARY };
        assert_eq!(decide(row()), "refresh");
        assert_eq!(decide(Row { refreshable: false, ..row() }), "log in");
        let recovery = Recovery::LoggedIn;
        assert_eq!(decide(Row { refused: true, recovery, ..ORDINARY }), "fail: fresh token");
        // Expiry.
        assert_eq!(decide(Row { freshness: Stale, ..ORDINARY }), "refresh");
        assert_eq!(decide(Row { freshness: Expired, ..ORDINARY }), "refresh");
        let row = Row { refreshable: false, ..ORDINARY };
        assert_eq!(decide(Row { freshness: Stale, ..row }), "keep");
        let row = Row { refreshable: false, ..ORDINARY };
        assert_eq!(decide(Row { freshness: Expired, ..row }), "log in");
        // Scopes.
        assert_eq!(decide(Row { missing: "write", ..ORDINARY }), "step up");
        assert_eq!(decide(Row { step_up: Some(("write", 0)), ..ORDINARY }), "step up");
        assert_eq!(decide(Row { step_up: Some(("write", 2)), ..ORDINARY }), "step up");
        assert_eq!(decide(Row { step_up: Some(("write", 3)), ..ORDINARY }), "fail: step-up");
        assert_eq!(decide(Row { step_up: Some(("read", 0)), ..ORDINARY }), "fail: step-up");
        // An expired token is renewed before anybody is asked for more.
        let step_up = Some(("write", 0));
        assert_eq!(decide(Row { freshness: Expired, step_up, ..ORDINARY }), "refresh");
    }

    #[test]
    fn without_tokens_there_is_only_the_login() {
        let missing = ScopeSet::new();
        let facts = Facts { tokens: None, missing: &missing, step_up: None, limit: 3 };
        assert!(matches!(plan(&facts), Plan::LogIn));
    }
}
