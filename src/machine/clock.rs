//! Our wall clock and the servers'.

use http::uri::Authority;

use crate::flow::HttpResult;
use crate::machine::AuthMachine;
use crate::machine::lane::Asked;
use crate::output::{Purpose, shared};
pub(super) use crate::session::clock::Told;
use crate::session::clock::{self, ClockSkew};
use crate::text::printable;
use crate::time::Now;
use crate::wire::date;

impl AuthMachine {
    /// The difference between this machine's wall clock and a server's, if there is one, as far as
    /// the last answers have shown it, also to an earlier run. Each change is told, by
    /// [`Notice::ClockSkew`](crate::Notice::ClockSkew).
    pub fn clock_skew(&self) -> Option<&ClockSkew> {
        self.session.record.clock_skew.as_ref()
    }

    pub(super) fn compare_clocks(&mut self, now: Now, asked: &Asked, reply: &HttpResult) {
        let Ok(response) = reply else { return };
        let Some(date) = date::of(response.headers()) else { return };
        // What its clock says now, where the answer came to another session, a while ago.
        let date = date.plus(shared::age(response));
        let ahead = clock::ahead(asked.at, now, date);
        // A cache may have kept it: an old date says nothing.
        let kept = matches!(asked.purpose, Purpose::ResourceMetadata | Purpose::ServerMetadata);
        if kept && ahead > 0 {
            return;
        }
        let server = printable(asked.uri.authority().map_or("", Authority::as_str));
        let known = &mut self.session.record.clock_skew;
        let notice = self.clocks.compare(known, server, ahead, now.wall);
        self.take_notes(notice);
    }
}
