//! Codes for other devices (RFC 8628).

use http::Request;
use serde_json::{Value, json};

use super::AuthorizationServer;
use super::clients::Client;
use super::refusal::{Refusal, check_form};
use super::state::Grant;
use super::token::Issued;
use crate::log::{Detail, TokenRequest};
use crate::person::Person;
use crate::text::{self, Form, Response};

pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Where nothing is said (RFC 8628 §3.2).
const INTERVAL: u64 = 5;

/// A code that was given to a program.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) user_code: String,
    grant: Grant,
    expires_at: u64,
    /// Between two polls, in seconds.
    interval: u64,
    /// What the program knows of that: five more with each poll that comes too soon.
    told: u64,
    polled_at: u64,
    /// What the person said; `None` while they say nothing.
    approved: Option<bool>,
    spent: bool,
}

impl AuthorizationServer {
    /// RFC 8628 §3.1.
    pub(super) fn authorize_device(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
    ) -> (Response, Detail) {
        let given = self.give_code(now, request);
        let detail = Detail::DeviceAuthorization { granted: given.is_ok() };
        (given.unwrap_or_else(|refusal| refusal.response()), detail)
    }

    fn give_code(&mut self, now: u64, request: &Request<Vec<u8>>) -> Result<Response, Refusal> {
        let form = Form::parse(request.body());
        check_form(request, &form)?;
        let (client, _) = self.authenticate(now, request, &form)?;
        if !client.may(GRANT_TYPE) {
            return Err(Refusal::new("unauthorized_client", "not a grant of this client"));
        }
        self.check_resource(form.get("resource"), None)
            .map_err(|error| Refusal::new(error, "not a resource"))?;
        let scopes = form.get(&self.scope_parameter).map(text::words);
        let scopes = scopes.unwrap_or_else(|| self.default_scopes.clone());
        let exists = |scope| self.scopes_supported.contains(scope);
        if !self.scopes_supported.is_empty() && !scopes.iter().all(exists) {
            return Err(Refusal::new("invalid_scope", "no such scope"));
        }
        let grant = Grant {
            client_id: client.id,
            scopes,
            audience: self.audience(form.get("resource")),
            family: self.new_family(),
            refreshable: true,
        };
        let (device_code, user_code) = (self.mint("device"), self.mint("enter"));
        let expires_at = now.saturating_add(self.code_lifetime);
        let interval = self.poll_interval.unwrap_or(INTERVAL);
        let page = self.url("device");
        let mut reply = json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "expires_in": self.code_lifetime,
        });
        if let Some(interval) = self.poll_interval {
            reply["interval"] = json!(interval);
        }
        if self.completes_uri {
            reply["verification_uri_complete"] = json!(format!("{page}?user_code={user_code}"));
        }
        for (name, value) in &self.device_changes {
            reply[name] = value.clone();
        }
        let device = Device {
            user_code,
            grant,
            expires_at,
            interval,
            told: interval,
            polled_at: now,
            approved: None,
            spent: false,
        };
        self.state.devices.insert(device_code, device);
        Ok(text::json(200, &reply))
    }

    /// The page where codes are entered.
    pub(super) fn enter_code(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
        person: &Person,
    ) -> Response {
        let query = Form::parse(request.uri().query().unwrap_or_default().as_bytes());
        let entered = query.get("user_code").unwrap_or_default();
        let granted = self.grants.clone();
        let devices = self.state.devices.values_mut();
        let known = devices.into_iter().find(|device| {
            device.user_code == entered && now < device.expires_at && device.approved.is_none()
        });
        let page = |status, text: &str| text::response(status, "text/plain; charset=utf-8", text);
        let Some(device) = known else { return page(400, "This code is not known here.") };
        if let super::ScopeGrant::Only(granted) = &granted {
            device.grant.scopes.retain(|scope| granted.contains(scope));
        }
        match person {
            Person::Approves => device.approved = Some(true),
            Person::ApprovesOnly(agreed) => {
                device.grant.scopes.retain(|scope| agreed.contains(scope));
                device.approved = Some(true);
            }
            Person::Denies => device.approved = Some(false),
            Person::Ignores => return page(200, "Let this program use your notes?"),
        }
        page(200, "You can go back to your device.")
    }

    /// Where this code is entered, if it is one of this server.
    pub(crate) fn page_for(&self, user_code: &str) -> Option<String> {
        let known = self.state.devices.values().any(|device| device.user_code == user_code);
        known.then(|| format!("{}?user_code={user_code}", self.url("device")))
    }

    /// RFC 8628 §3.4 and §3.5. Strict: who asks too soon is told so, and has to wait longer.
    pub(super) fn poll(
        &mut self,
        now: u64,
        client: &Client,
        form: &Form,
        record: &mut TokenRequest,
    ) -> Result<Issued, Refusal> {
        let presented = form.get("device_code").ok_or(Refusal::invalid_request("no code"))?;
        let Some(device) = self.state.devices.get_mut(presented) else {
            return Err(Refusal::invalid_grant("unknown device code"));
        };
        if device.grant.client_id != client.id {
            return Err(Refusal::invalid_grant("the device code is for another client"));
        }
        if device.spent {
            record.reused = true;
            return Err(Refusal::invalid_grant("the device code was used before"));
        }
        if now >= device.expires_at {
            return Err(Refusal::new("expired_token", "the device code has expired"));
        }
        let waited = now.saturating_sub(device.polled_at);
        device.polled_at = now;
        if waited < device.interval {
            device.told += INTERVAL;
            device.interval = device.interval.max(device.told);
            return Err(Refusal::new("slow_down", "too many polls"));
        }
        let audience = device.grant.audience.clone();
        let approved = device.approved;
        match approved {
            None => return Err(Refusal::new("authorization_pending", "nobody has entered it yet")),
            Some(false) => return Err(Refusal::new("access_denied", "the person said no")),
            Some(true) => {}
        }
        self.check_resource(form.get("resource"), audience.as_deref())
            .map_err(|error| Refusal::new(error, "not the resource that was agreed on"))?;
        let Some(device) = self.state.devices.get_mut(presented) else {
            return Err(Refusal::invalid_grant("unknown device code"));
        };
        device.spent = true;
        let grant = device.grant.clone();
        Ok(self.issue(now, client, &grant))
    }

    /// From now on, whoever polls has to wait this much longer, in seconds, without having been told.
    pub fn slow_down(&mut self, seconds: u64) {
        for device in self.state.devices.values_mut() {
            device.interval = device.interval.saturating_add(seconds);
        }
    }

    pub(super) fn announce_devices(&self, add: &mut impl FnMut(&str, Value) -> Option<Value>) {
        if self.device {
            add("device_authorization_endpoint", json!(self.url("device_authorization")));
            let mut grants = self.grant_types.clone();
            grants.push(GRANT_TYPE.to_owned());
            add("grant_types_supported", json!(grants));
        }
    }
}
