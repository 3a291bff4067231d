//! The table that decides what a demand leads to. Pure, and the only place that decides it.
//!
//! | tokens | refused | freshness | scopes | then |
//! |---|---|---|---|---|
//! | none | | | | log in |
//! | yes | 401, not by a recovery | | | refresh, else log in |
//! | yes | 401, just refreshed for that | | | log in |
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
