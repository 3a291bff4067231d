//! A token that is lent as it is: from the settings, or from where they say that it is. One from
//! elsewhere is read when it is first needed, and again after a refusal: it may have been rotated.

use http::HeaderValue;

use crate::config::{Config, usable_token};
use crate::error::{Error, ErrorKind};
use crate::event::Demand;
use crate::flow::secret::{FindSecret, SecretResult};
use crate::flow::{Ask, Notes, Step};
use crate::machine::lane::{Lane, LaneName, State, Want, Work};
use crate::machine::{AuthMachine, TokenState};
use crate::output::HostError;
use crate::secret::Secret;
use crate::session::grant::{Grant, bearer};
use crate::session::tokens::Generation;
use crate::session::trouble::SessionState;
use crate::time::Now;

const BEARER_TOKEN: &str = "the bearer token";

#[derive(Debug)]
pub(super) enum Fixed {
    /// There is none: tokens come from the authorization server.
    Absent,
    /// It is somewhere else.
    Unread,
    Held(Held),
}

#[derive(Debug)]
pub(super) struct Held {
    header: HeaderValue,
    token: Secret,
    /// Counts what was read; the settings' own has the first number.
    generation: Generation,
}

impl Held {
    fn new(token: Secret, generation: Generation) -> Option<Self> {
        Some(Self { header: bearer(&token)?, token, generation })
    }
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        let own = config.bearer_token.clone();
        match own.and_then(|token| Held::new(token, Generation::default())) {
            Some(held) => Self::Held(held),
            None if config.bearer_token_from.is_empty() => Self::Absent,
            None => Self::Unread,
        }
    }

    /// Whether a refusal is of one that was replaced since.
    pub(super) fn was_replaced(&self, refused: Option<Generation>) -> bool {
        match (self, refused) {
            (Self::Held(held), Some(refused)) => refused != held.generation,
            _ => false,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}

impl AuthMachine {
    /// `None`: it is for the authorization server to say.
    pub(super) fn fixed_token(&self) -> Option<TokenState> {
        match &self.fixed {
            Fixed::Absent => None,
            Fixed::Held(held) if !self.session.refused() => {
                let (site, header) = (self.session.site.clone(), held.header.clone());
                Some(TokenState::Ready(Grant::fixed(site, header, held.generation)))
            }
            _ => {
                let lane = self.renewal.as_ref().filter(|lane| !lane.detached);
                Some(match (lane, self.attempts.last_failure()) {
                    (Some(lane), _) => TokenState::Pending(lane.attempt),
                    (None, Some((attempt, error))) => TokenState::Failed(*attempt, error.clone()),
                    (None, None) => TokenState::Missing,
                })
            }
        }
    }

    pub(super) fn fixed_state(&self) -> Option<SessionState> {
        match &self.fixed {
            Fixed::Absent => None,
            Fixed::Unread => Some(SessionState::Unknown),
            Fixed::Held(_) if self.session.refused() => Some(SessionState::LoginRequired),
            Fixed::Held(_) => Some(SessionState::Authorized),
        }
    }

    /// Gives the demand back where it isn't for a token of the settings.
    pub(super) fn on_fixed_demand(&mut self, demand: Demand) -> Option<Demand> {
        match &self.fixed {
            Fixed::Absent => return Some(demand),
            Fixed::Held(_) if !self.session.refused() => {
                self.new_attempt();
                return None;
            }
            _ => {}
        }
        let attempt = self.new_attempt();
        if let Some(lane) = &mut self.renewal {
            self.attempts.last = Some(lane.join(attempt, demand));
            return None;
        }
        let places = match self.config.bearer_token {
            Some(_) => &[][..],
            None => self.config.bearer_token_from.as_slice(),
        };
        match FindSecret::start(BEARER_TOKEN, places) {
            Some((find, ask)) => {
                let lane = Lane::new(LaneName::Renewal, attempt, demand, Work::Finding(find));
                let state = State::Ready(Want::Ask(ask));
                self.renewal = Some(Lane { state, ..lane });
            }
            None => {
                self.session.pardon();
                self.fail(attempt, ErrorKind::StaticTokenRefused.into());
            }
        }
        None
    }

    pub(super) fn on_fixed_found(
        &mut self,
        now: Now,
        mut lane: Lane,
        find: FindSecret,
        result: SecretResult,
    ) {
        let mut notes = Notes::new();
        let place = find.place();
        let found = find.on_secret(result, &mut notes);
        self.take_notes(notes);
        match found {
            Ok(Step::Ask(find, ask @ Ask::Secret(_))) => {
                lane.work = Work::Finding(find);
                lane.state = State::Ready(Want::Ask(ask));
                self.renewal = Some(lane);
            }
            Ok(Step::Ask(..)) => {}
            Ok(Step::Done(Some(token))) => {
                let result = self.hold(token, place);
                self.settle(&lane, result);
            }
            Ok(Step::Done(None)) => {
                self.session.pardon();
                self.fixed = Fixed::Absent;
                self.settle(&lane, Ok(()));
                if !lane.detached {
                    self.take_up(now, lane.attempt, lane.demand);
                }
            }
            Err(error) => self.settle(&lane, Err(error)),
        }
    }

    fn hold(&mut self, token: Secret, place: String) -> Result<(), Error> {
        let generation = match &self.fixed {
            Fixed::Held(held) if held.token == token => {
                // The next try may find another answer.
                self.session.pardon();
                return Err(ErrorKind::StaticTokenRefused.into());
            }
            Fixed::Held(held) => held.generation.next(),
            _ => Generation::default().next(),
        };
        let held = Some(token).filter(|token| usable_token(token.expose()));
        match held.and_then(|token| Held::new(token, generation)) {
            Some(held) => {
                self.session.pardon();
                self.fixed = Fixed::Held(held);
                Ok(())
            }
            None => {
                let source = HostError::new("it is not visible ASCII without spaces");
                Err(ErrorKind::SecretUnavailable { what: BEARER_TOKEN, place, source }.into())
            }
        }
    }
}
