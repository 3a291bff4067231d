//! The revocation endpoint (RFC 7009).

use http::Request;

use super::AuthorizationServer;
use super::refusal::{Refusal, check_form};
use crate::log::Detail;
use crate::text::{self, Form, Response};

impl AuthorizationServer {
    pub(super) fn answer_revocation(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
    ) -> (Response, Detail) {
        let form = Form::parse(request.body());
        match self.give_back(now, request, &form) {
            Ok(revoked) => (text::empty(200), Detail::Revocation { revoked }),
            Err(refusal) => (refusal.response(), Detail::Revocation { revoked: false }),
        }
    }

    /// An unknown token is no error: it is as dead as its sender wants it (RFC 7009 §2.2).
    fn give_back(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
        form: &Form,
    ) -> Result<bool, Refusal> {
        check_form(request, form)?;
        let (client, _) = self.authenticate(now, request, form)?;
        let token = form.get("token").ok_or(Refusal::invalid_request("no token"))?;
        if self.owner(token).is_some_and(|owner| owner != client.id) {
            return Err(Refusal::new("unauthorized_client", "the token of another client"));
        }
        Ok(self.end_token(token))
    }
}
