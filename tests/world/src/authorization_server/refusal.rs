//! How the token endpoint and its neighbours say no (RFC 6749 §5.2).

use http::{Request, header};
use serde_json::json;

use super::clients::ClientAuthentication;
use crate::text::{self, Form, Response};

/// An error response (RFC 6749 §5.2).
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    pub(super) error: &'static str,
    description: &'static str,
    challenge: bool,
}

impl Refusal {
    pub(super) fn new(error: &'static str, description: &'static str) -> Refusal {
        Refusal { status: 400, error, description, challenge: false }
    }

    pub(super) fn invalid_request(description: &'static str) -> Refusal {
        Refusal::new("invalid_request", description)
    }

    pub(super) fn invalid_grant(description: &'static str) -> Refusal {
        Refusal::new("invalid_grant", description)
    }

    pub(super) fn invalid_client(
        method: ClientAuthentication,
        description: &'static str,
    ) -> Refusal {
        let challenge = method == ClientAuthentication::Basic;
        Refusal { status: 401, challenge, ..Refusal::new("invalid_client", description) }
    }

    pub(super) fn with_status(self, status: u16) -> Refusal {
        Refusal { status, ..self }
    }

    pub(super) fn response(&self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = text::json(self.status, &body);
        if self.challenge {
            text::add_header(&mut response, "www-authenticate", "Basic realm=\"token\"");
        }
        response
    }
}

/// Is this a form, with nothing in it twice (RFC 6749 §3.2)?
pub(super) fn check_form(request: &Request<Vec<u8>>, form: &Form) -> Result<(), Refusal> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::invalid_request("not a form"));
    }
    if form.repeats() {
        return Err(Refusal::invalid_request("a parameter is given twice"));
    }
    Ok(())
}
