//! Before a refresh: metadata that is no longer fresh is looked up again, under the store's lock, so
//! that of several programs one does it.

use url::Url;

use crate::flow::freshen::Freshen;
use crate::flow::{HttpResult, Notes, Step};
use crate::machine::AuthMachine;
use crate::machine::answer::ready;
use crate::machine::lane::{Lane, Work};
use crate::session::record::Discovery;
use crate::time::Now;
use crate::wire::url as address;

impl AuthMachine {
    /// Gives the lane back where nothing is to be looked up.
    pub(super) fn freshen(&mut self, now: Now, mut lane: Lane) -> Option<Lane> {
        let found = self.looked_up().zip(self.stale(now));
        let stale = found.and_then(|(found, url)| Freshen::start(found, url));
        let Some((freshen, ask)) = stale else { return Some(lane) };
        lane.work = Work::Freshening(Box::new(freshen));
        lane.state = ready(now, ask);
        self.renewal = Some(lane);
        None
    }

    /// Where metadata is that is to be looked up again.
    pub(super) fn stale(&self, now: Now) -> Option<Url> {
        let tokens = self.session.record.tokens.as_ref().filter(|tokens| tokens.is_refreshable());
        let (found, tokens) = self.looked_up().zip(tokens)?;
        Freshen::stale(found, tokens.logged_in_at, now.wall)
    }

    pub(super) fn freshened(
        &mut self,
        now: Now,
        mut lane: Lane,
        freshen: Freshen,
        reply: HttpResult,
    ) {
        let mut notes = Notes::new();
        let step = freshen.on_http(&self.config, now.wall, reply, &mut notes);
        self.take_notes(notes);
        match step {
            Step::Ask(freshen, ask) => {
                lane.work = Work::Freshening(Box::new(freshen));
                lane.state = ready(now, ask);
                self.renewal = Some(lane);
            }
            Step::Done(found) => {
                self.take_freshened(*found);
                self.refresh(now, lane);
            }
        }
    }

    /// What is saved next, before the refresh is sent, has it.
    fn take_freshened(&mut self, found: Discovery) {
        // A login may have led elsewhere meanwhile.
        let Some(known) = self.looked_up().filter(|known| known.issuer == found.issuer) else {
            return;
        };
        let before = known.server.token_endpoint();
        let moved = found.server.token_endpoint().filter(|to| {
            before.as_ref().is_some_and(|from| from != to && address::same_origin(from, to))
        });
        let record = &mut self.session.record;
        // Nothing but a login takes a refresh token to another origin.
        if let (Some(tokens), Some(_)) = (&mut record.tokens, moved)
            && address::parse("token_endpoint", &tokens.token_endpoint).ok() == before
        {
            tokens.purchase.token_endpoint =
                found.server.token_endpoint.clone().unwrap_or_default();
        }
        record.discovery = Some(found);
    }

    /// The metadata of the tokens' issuer, where its server published it.
    fn looked_up(&self) -> Option<&Discovery> {
        let record = &self.session.record;
        let tokens = record.tokens.as_ref()?;
        let found = record.discovery.as_ref()?;
        (found.issuer == tokens.issuer && found.server_metadata_url.is_some()).then_some(found)
    }
}
