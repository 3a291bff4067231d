//! Login: detect → discover → listen → register → authorize → exchange. A step-up is a login with
//! more scopes; an inspection is a login that stops before anything is asked of anybody.

use crate::error::{Error, ErrorKind};
use crate::flow::authorize::{Authorize, Landing};
use crate::flow::detect::{Detect, Detected};
use crate::flow::discover::{Discover, Discovered, Evidence};
use crate::flow::exchange::{Bought, Exchange, Failed, PaidWith};
use crate::flow::identity::{self, Choice, Identity, registered};
use crate::flow::job::Job;
use crate::flow::register::Register;
use crate::flow::secret::{FindSecret, SecretResult};
use crate::flow::{Ask, HttpResult, Learned, Notes, Step};
use crate::notice::{ClientSource, Leniency, Notice};
use crate::output::{CallbackPort, ListenSpec, Page};
use crate::secret::Secret;
use crate::session::record::{ClientHome, Discovery, Registration};
use crate::session::tokens::Purchase;
use crate::text::{printable, printable_url};
use crate::time::UnixTime;
use crate::wire::failure::OAuthError;
use crate::wire::token::TokenReply;

/// A login on its way.
pub(crate) struct Login {
    job: Job,
    stage: Stage,
}

enum Stage {
    Detect(Detect),
    Discover(Box<Discover>),
    Listen(Box<Discovery>),
    Register(Register, Place),
    Keep(Identity, Place),
    /// Nobody is sent to log in where the client's secret can't be had afterwards.
    Rehearse(FindSecret, Identity, Place),
    Authorize(Box<Authorize>),
    Exchange(Exchange, Place),
}

/// Where the login stands: the server, and the address that the browser comes back to.
struct Place {
    found: Box<Discovery>,
    redirect_uri: String,
}

/// How a login ends well.
pub(crate) enum Ended {
    NotRequired,
    Inspected(Learned),
    Obtained { reply: Box<TokenReply>, purchase: Purchase, learned: Learned },
}

type Turn = Result<Step<Login, Ended>, Error>;

impl Login {
    /// `evidence`: what is known already; without it the server is probed.
    pub(crate) fn start(
        job: Job,
        evidence: Option<Evidence>,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        match evidence {
            Some(evidence) => Self::discover(job, evidence, now, notes),
            None => {
                let step = Detect::start(&job.site);
                Self::detected(job, step, now, notes)
            }
        }
    }

    /// Whoever waits for it has changed.
    pub(crate) fn set_browser_welcome(&mut self, welcome: bool) {
        self.job.browser_welcome = welcome;
    }

    /// The exchange that is out, if one is: its answer must not be lost.
    pub(crate) fn exchange(&self) -> Option<(&Exchange, Learned)> {
        match &self.stage {
            Stage::Exchange(exchange, place) => {
                Some((exchange, self.job.learned_with(&place.found)))
            }
            _ => None,
        }
    }

    /// Whether ending the login now would lose something that a server has made for us.
    pub(crate) fn must_be_seen_through(&self) -> bool {
        matches!(self.stage, Stage::Register(..) | Stage::Keep(..) | Stage::Exchange(..))
    }

    /// Redirect URI and state of the authorization request that is out.
    pub(crate) fn request(&self) -> Option<(&str, &Secret)> {
        match &self.stage {
            Stage::Authorize(authorize) => Some((&authorize.redirect_uri, authorize.state())),
            _ => None,
        }
    }

    /// The client that the person was sent with, and the issuer that they were sent to.
    pub(crate) fn sent(&self) -> Option<(&str, &Identity)> {
        match &self.stage {
            Stage::Authorize(sent) => Some((&sent.found.issuer, &sent.identity)),
            _ => None,
        }
    }

    pub(crate) fn on_http(self, now: UnixTime, reply: HttpResult, notes: &mut Notes) -> Turn {
        let Self { mut job, stage } = self;
        job.overlook(&reply, notes);
        match stage {
            Stage::Detect(detect) => {
                let step = detect.on_http(&job.site, reply, notes);
                Self::detected(job, step, now, notes)
            }
            Stage::Discover(discover) => {
                let step = discover.on_http(&job.config, &job.site, reply, notes)?;
                Self::discovered(job, step, now, notes)
            }
            Stage::Register(register, place) => {
                let step = register.on_http(&job.config, now, reply, notes)?;
                Ok(Self::registered(job, place, step, notes))
            }
            Stage::Exchange(exchange, place) => {
                Self::exchanged(job, exchange, place, now, reply, notes)
            }
            Stage::Listen(_) | Stage::Keep(..) | Stage::Rehearse(..) | Stage::Authorize(_) => {
                Err(stray("http"))
            }
        }
    }

    pub(crate) fn on_secret(self, result: SecretResult, notes: &mut Notes) -> Turn {
        match self.stage {
            Stage::Rehearse(find, identity, place) => {
                // What was found is dropped again: a person may take minutes.
                match identity.clone().on_secret(find, result, notes)? {
                    Some((find, ask)) => {
                        let stage = Stage::Rehearse(find, identity, place);
                        Ok(Step::Ask(Self { job: self.job, stage }, ask))
                    }
                    None => Self::ask_person(self.job, identity, place, notes),
                }
            }
            Stage::Exchange(exchange, place) => {
                let (exchange, ask) = exchange.on_secret(result, notes)?;
                Ok(Step::Ask(Self { job: self.job, stage: Stage::Exchange(exchange, place) }, ask))
            }
            _ => Err(stray("secret")),
        }
    }

    pub(crate) fn on_listening(
        self,
        now: UnixTime,
        redirect_uri: String,
        notes: &mut Notes,
    ) -> Turn {
        match self.stage {
            Stage::Listen(found) => {
                Self::identify(self.job, Place { found, redirect_uri }, now, notes)
            }
            _ => Err(stray("listen")),
        }
    }

    pub(crate) fn on_kept(self, notes: &mut Notes) -> Turn {
        match self.stage {
            Stage::Keep(identity, place) => Self::authorize(self.job, identity, place, notes),
            _ => Err(stray("save")),
        }
    }

    pub(crate) fn on_pause_over(self) -> Turn {
        match self.stage {
            Stage::Exchange(exchange, place) => {
                let (exchange, ask) = exchange.on_pause_over();
                Ok(Step::Ask(Self { job: self.job, stage: Stage::Exchange(exchange, place) }, ask))
            }
            _ => Err(stray("tick")),
        }
    }

    /// A redirect came, genuine or not. `Err` gives the login back as it was.
    pub(crate) fn on_redirect(
        self,
        url: &Secret,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Result<(Page, Turn), Box<Self>> {
        let Stage::Authorize(authorize) = self.stage else {
            return Err(Box::new(self));
        };
        match authorize.on_redirect(url) {
            Landing::Ignored(why) => {
                notes.push(Notice::RedirectIgnored { why: why.into() });
                Err(Box::new(Self { job: self.job, stage: Stage::Authorize(authorize) }))
            }
            Landing::MixUp(kind) => {
                let error = Error::from(kind);
                Ok((Page::Failure(error.to_string()), Err(error)))
            }
            Landing::Refused(error) => {
                let page = Page::Failure(error.to_string());
                let Authorize { found, identity, redirect_uri, .. } = *authorize;
                let place = Place { found, redirect_uri };
                let mut job = self.job;
                let turn = if error.is_refused_resource() && job.may_omit_resource() {
                    Self::authorize(job, identity, place, notes)
                } else if rejects_client(&error) {
                    let otherwise = ErrorKind::Denied(error);
                    Self::replace_client(job, identity, place, otherwise, now, notes)
                } else {
                    Err(ErrorKind::Denied(error).into())
                };
                Ok((page, turn))
            }
            Landing::Code(code) => {
                notes.push(Notice::Authorized);
                Ok((Page::Success, Self::pay(self.job, *authorize, code, now)))
            }
        }
    }

    fn detected(job: Job, step: Step<Detect, Detected>, now: UnixTime, notes: &mut Notes) -> Turn {
        let evidence = match step {
            Step::Ask(detect, ask) => {
                return Ok(Step::Ask(Self { job, stage: Stage::Detect(detect) }, ask));
            }
            // Its metadata says whether it knows a login at all.
            Step::Done(Detected::NotRequired) if job.wanted_all_the_same => Evidence::Open,
            Step::Done(Detected::NotRequired) => {
                notes.push(Notice::NotRequired);
                return Ok(Step::Done(Ended::NotRequired));
            }
            Step::Done(Detected::Required(challenge)) => {
                notes.push(Notice::Required);
                Evidence::Challenge(challenge)
            }
            Step::Done(Detected::Unclear { answered, why }) => Evidence::Unclear { answered, why },
        };
        Self::discover(job, evidence, now, notes)
    }

    fn discover(mut job: Job, evidence: Evidence, now: UnixTime, notes: &mut Notes) -> Turn {
        if let Evidence::Challenge(challenge) = &evidence {
            job.challenge_scope = challenge.as_ref().and_then(|challenge| challenge.scope.clone());
            job.needs_person()?;
        }
        let step = Discover::start(evidence, &job.config, &job.site, notes)?;
        Self::discovered(job, step, now, notes)
    }

    fn discovered(
        job: Job,
        step: Step<Discover, Discovered>,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        let found = match step {
            Step::Ask(discover, ask) => {
                return Ok(Step::Ask(
                    Self { job, stage: Stage::Discover(Box::new(discover)) },
                    ask,
                ));
            }
            Step::Done(Discovered::NotRequired) => {
                notes.push(Notice::NotRequired);
                return Ok(Step::Done(Ended::NotRequired));
            }
            Step::Done(Discovered::Found(found)) => found,
        };
        if job.inspect {
            notes.push(job.proposal(&found, now));
            return Ok(Step::Done(Ended::Inspected(job.learned_with(&found))));
        }
        job.needs_person()?;
        if let Some(uri) = &job.config.redirect_uri {
            let redirect_uri = uri.clone();
            return Self::identify(job, Place { found, redirect_uri }, now, notes);
        }
        let known = job.registrations.get(&found.issuer);
        let port = known.and_then(|known| url::Url::parse(&known.redirect_uri).ok()?.port());
        let spec = ListenSpec {
            host: job.config.callback_host,
            port: match (job.config.callback_port, port) {
                (Some(port), _) => CallbackPort::Fixed(port),
                (None, Some(port)) => CallbackPort::Prefer(port),
                (None, None) => CallbackPort::Free,
            },
            path: "/callback".into(),
        };
        Ok(Step::Ask(Self { job, stage: Stage::Listen(found) }, Ask::Listen(spec)))
    }

    fn identify(job: Job, place: Place, now: UnixTime, notes: &mut Notes) -> Turn {
        match identity::choose(job.known(&place.found), &place.found, &place.redirect_uri, now)? {
            Choice::Use(identity) => {
                notes.push(tell(&identity));
                Self::authorize(job, identity, place, notes)
            }
            Choice::Register => {
                let scope = job.scopes(&place.found);
                let step = Register::start(&place.found, &job.config, &place.redirect_uri, scope)?;
                Ok(Self::registered(job, place, step, notes))
            }
        }
    }

    fn registered(
        mut job: Job,
        place: Place,
        step: Step<Register, Registration>,
        notes: &mut Notes,
    ) -> Step<Self, Ended> {
        match step {
            Step::Ask(register, ask) => {
                Step::Ask(Self { job, stage: Stage::Register(register, place) }, ask)
            }
            Step::Done(registration) => {
                let identity = registered(&registration, ClientSource::Registered);
                notes.push(tell(&identity));
                job.registrations.insert(registration.issuer.clone(), registration.clone());
                job.learned.registered = Some(registration);
                // Kept before the person is asked: a crash in the browser must not cost another.
                let learned = Box::new(job.learned_with(&place.found));
                Step::Ask(Self { job, stage: Stage::Keep(identity, place) }, Ask::Keep(learned))
            }
        }
    }

    fn authorize(job: Job, identity: Identity, place: Place, notes: &mut Notes) -> Turn {
        job.needs_person()?;
        match identity.find_secret() {
            Some((find, ask)) => {
                Ok(Step::Ask(Self { job, stage: Stage::Rehearse(find, identity, place) }, ask))
            }
            None => Self::ask_person(job, identity, place, notes),
        }
    }

    fn ask_person(mut job: Job, identity: Identity, place: Place, notes: &mut Notes) -> Turn {
        // Again: who welcomed a browser may have left since.
        job.needs_person()?;
        let Place { found, redirect_uri } = place;
        let requested = job.scopes(&found);
        let resource = job.resource(&found);
        if resource.is_none() {
            notes.push(Notice::Lenient(Leniency::ResourceOmitted));
        }
        let authorize =
            Authorize::start(found, identity, redirect_uri, requested, resource, &mut job.entropy);
        let Some(url) = authorize.url(&job.config) else {
            return Err(stray("browse"));
        };
        Ok(Step::Ask(Self { job, stage: Stage::Authorize(Box::new(authorize)) }, Ask::Browse(url)))
    }

    fn pay(job: Job, authorize: Authorize, code: Secret, now: UnixTime) -> Turn {
        let Authorize { found, identity, redirect_uri, requested, resource, pkce, .. } = authorize;
        let earlier = job.earlier_of(&found);
        let purchase = Purchase {
            scope_on_refresh: job.config.scope_on_refresh
                || earlier.is_some_and(|earlier| earlier.scope_on_refresh),
            issuer: found.issuer.clone(),
            token_endpoint: found.server.token_endpoint.clone().unwrap_or_default(),
            client_id: identity.client_id.clone(),
            client_source: identity.source.kind(),
            requested,
            logged_in_at: now,
            resource,
            auth_method: None,
        };
        let verifier = pkce.verifier().clone();
        let paid_with = PaidWith::Code { code, redirect_uri: redirect_uri.clone(), verifier };
        let (exchange, ask) = Exchange::start(purchase, identity, paid_with, &job.config)?;
        let stage = Stage::Exchange(exchange, Place { found, redirect_uri });
        Ok(Step::Ask(Self { job, stage }, ask))
    }

    fn exchanged(
        job: Job,
        exchange: Exchange,
        place: Place,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Turn {
        let (identity, url) = (exchange.identity.clone(), exchange.url());
        match exchange.on_http(now, reply, notes) {
            Ok(Step::Ask(exchange, ask)) => {
                Ok(Step::Ask(Self { job, stage: Stage::Exchange(exchange, place) }, ask))
            }
            Ok(Step::Done(Bought { reply, purchase })) => {
                let mut learned = job.learned_with(&place.found);
                learned.client_home = home(&identity, &purchase);
                // Also one that was registered earlier: another program may have put its own in the
                // record since, and only this one can renew these tokens.
                if identity.source.kind() == ClientSource::Registered {
                    let mut client = job.registrations.get(&purchase.issuer).cloned();
                    if let (Some(client), Some(method)) = (&mut client, purchase.auth_method) {
                        client.auth_method = method;
                    }
                    learned.registered = client;
                }
                Ok(Step::Done(Ended::Obtained { reply: Box::new(reply), purchase, learned }))
            }
            Err(Failed::Refused(error)) => {
                let rejected = rejects_client(&error);
                let otherwise = ErrorKind::TokenRefused { url, error };
                if rejected {
                    Self::replace_client(job, identity, place, otherwise, now, notes)
                } else {
                    Err(otherwise.into())
                }
            }
            Err(failed) => Err(failed.into_error(url)),
        }
    }

    /// The server doesn't know the client, or doesn't like it: another way to be one, once.
    fn replace_client(
        mut job: Job,
        rejected: Identity,
        place: Place,
        otherwise: ErrorKind,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        let issuer = place.found.issuer.clone();
        if std::mem::replace(&mut job.replaced_client, true) {
            return Err(otherwise.into());
        }
        match rejected.source {
            ClientSource::Configured | ClientSource::Registered => return Err(otherwise.into()),
            ClientSource::Remembered => {
                job.registrations.remove(&issuer);
                job.learned.forgotten.push(issuer);
            }
            ClientSource::MetadataDocument => {
                job.document_rejected_by.insert(issuer.clone());
                job.learned.document_rejected.push(issuer);
            }
        }
        notes.push(Notice::ClientRejected { client_id: printable_url(&rejected.client_id) });
        // Where there is no other way, what the server said is the better explanation.
        match Self::identify(job, place, now, notes) {
            Err(error) if matches!(error.kind(), ErrorKind::NoClient { .. }) => {
                Err(otherwise.into())
            }
            turn => turn,
        }
    }
}

/// Both mean the client; a server that forgot a registration says either.
pub(crate) fn rejects_client(error: &OAuthError) -> bool {
    error.is_unknown_client() || error.error == "unauthorized_client"
}

fn home(identity: &Identity, purchase: &Purchase) -> Option<ClientHome> {
    (identity.source == ClientSource::Configured).then(|| ClientHome {
        client_id: identity.client_id.clone(),
        issuer: purchase.issuer.clone(),
    })
}

fn tell(identity: &Identity) -> Notice {
    Notice::Client { client_id: printable(&identity.client_id), source: identity.source }
}

fn stray(action: &'static str) -> Error {
    ErrorKind::Unanswered { action }.into()
}
