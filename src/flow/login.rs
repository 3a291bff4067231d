//! Login: detect → discover → claim → listen → register → authorize → exchange. A step-up is a login
//! with more scopes; an inspection is a login that stops before anything is asked of anybody.

mod ask;
mod client;
mod device;
mod pay;
mod restore;
mod signed;

use restore::Restore;

use crate::error::{Error, ErrorKind};
use crate::flow::authorize::{Authorize, Landing};
use crate::flow::detect::{Detect, Detected};
use crate::flow::device::{Device, Request};
use crate::flow::discover::{Discover, Discovered, Evidence};
use crate::flow::exchange::Exchange;
use crate::flow::identity::{self, Choice, Identity, registered};
use crate::flow::job::Job;
use crate::flow::prepare::Prepare;
use crate::flow::register::Register;
use crate::flow::secret::{FindSecret, SecretResult};
use crate::flow::sign::Jwt;
use crate::flow::{Ask, HttpResult, Learned, Notes, Step};
use crate::notice::{ClientSource, Notice};
use crate::output::{ListenSpec, Page};
use crate::secret::Secret;
use crate::session::record::{Discovery, Record, Registration};
use crate::session::tokens::Purchase;
use crate::text::printable;
use crate::time::UnixTime;
use crate::wire::failure::OAuthError;
use crate::wire::scope::ScopeSet;
use crate::wire::token::TokenReply;

/// A login on its way.
pub(crate) struct Login {
    job: Job,
    stage: Stage,
}

enum Stage {
    Detect(Detect),
    Discover(Box<Discover>),
    Claim(Box<Discovery>),
    Listen(Box<Discovery>),
    LookAfter(Place),
    Register(Register, Place),
    Keep(Identity, Place),
    /// Nobody is sent to log in where the client's secret can't be had afterwards.
    Rehearse(FindSecret, Identity, Place),
    /// Nor where its key can't.
    RehearseKey(Box<Jwt>, Identity, Place),
    Prepare(Box<Prepare>),
    Authorize(Box<Authorize>),
    AskForCode(Box<Request>, Place),
    Device(Box<Device>, Place),
    Exchange(Box<Exchange>, Place),
    Restore(Box<Restore>),
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
    /// The cached login is of no use: everything begins anew without it.
    NotRestored(String),
    Obtained {
        reply: Box<TokenReply>,
        purchase: Box<Purchase>,
        learned: Learned,
    },
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
        if job.cached.is_some()
            && let Some(found) = Discover::settled(&job.config, &job.site)
        {
            return Ok(Step::Ask(Self { job, stage: Stage::Claim(Box::new(found)) }, Ask::Claim));
        }
        match evidence {
            Some(evidence) => Self::discover(job, evidence, now, notes),
            None => {
                let step = Detect::start(&job.site);
                Self::detected(job, step, now, notes)
            }
        }
    }

    /// Whether it is about to take up a cached login.
    pub(crate) fn restores(&self) -> bool {
        self.job.cached.is_some()
    }

    /// Whoever waits for it has changed.
    pub(crate) fn set_browser_welcome(&mut self, welcome: bool) {
        self.job.browser_welcome = welcome;
    }

    /// The exchange that is out, if one is: its answer must not be lost.
    pub(crate) fn exchange(&self) -> Option<(Exchange, Learned)> {
        match &self.stage {
            Stage::Exchange(exchange, place) => Some(self.paying(exchange, &place.found)),
            Stage::Device(device, place) => Some(self.paying(device.exchange()?, &place.found)),
            Stage::Restore(restore) => self.restoring(restore),
            _ => None,
        }
    }

    fn paying(&self, exchange: &Exchange, found: &Discovery) -> (Exchange, Learned) {
        (exchange.clone(), self.job.learned_as(&exchange.identity, found))
    }

    /// Whether ending the login now would lose something that a server has made for us.
    pub(crate) fn must_be_seen_through(&self) -> bool {
        match &self.stage {
            Stage::Register(..) | Stage::Keep(..) | Stage::Exchange(..) => true,
            Stage::Device(device, _) => device.exchange().is_some(),
            Stage::Restore(restore) => restore.exchange().is_some(),
            _ => false,
        }
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
                let step = discover.on_http(&job.config, &job.site, now, reply, notes)?;
                Self::discovered(job, step, now, notes)
            }
            Stage::Register(register, place) => {
                let step = register.on_http(&job.config, now, reply, notes)?;
                Ok(Self::registered(job, place, step, notes))
            }
            Stage::Prepare(prepare) => {
                let (back, url) = (prepare.authorize.back(), prepare.url());
                let prepared = prepare.on_http(now, reply);
                Self::prepared(job, prepared, back, url, now, notes)
            }
            Stage::Exchange(exchange, place) => {
                Self::exchanged(job, *exchange, place, now, reply, notes)
            }
            Stage::AskForCode(request, place) => {
                Self::code_came(job, *request, place, now, reply, notes)
            }
            Stage::Device(device, place) => Self::polled(job, *device, place, now, reply, notes),
            Stage::Restore(restore) => Self::restored(job, *restore, now, reply, notes),
            _ => Err(stray("http")),
        }
    }

    pub(crate) fn on_secret(self, now: UnixTime, result: SecretResult, notes: &mut Notes) -> Turn {
        match self.stage {
            Stage::Restore(restore) => {
                Self::restored_secret(self.job, *restore, result, now, notes)
            }
            Stage::Rehearse(find, identity, place) => {
                let mut proven = identity.clone();
                match proven.on_secret(find, result, notes)? {
                    Some((find, ask)) => {
                        let stage = Stage::Rehearse(find, identity, place);
                        Ok(Step::Ask(Self { job: self.job, stage }, ask))
                    }
                    // A code is asked for, and polled with, as this client.
                    None if self.job.by_code => {
                        Self::ask_person(self.job, proven, place, now, notes)
                    }
                    // What was found is dropped again: a person may take minutes.
                    None => Self::ask_person(self.job, identity, place, now, notes),
                }
            }
            Stage::Prepare(prepare) => {
                let (back, url) = (prepare.authorize.back(), prepare.url());
                let prepared = prepare.on_secret(&self.job.config, result, now, notes);
                Self::prepared(self.job, prepared, back, url, now, notes)
            }
            Stage::Exchange(exchange, place) => {
                let (exchange, ask) = exchange.on_secret(result, now, notes)?;
                Ok(Step::Ask(
                    Self { job: self.job, stage: Stage::Exchange(Box::new(exchange), place) },
                    ask,
                ))
            }
            _ => Err(stray("secret")),
        }
    }

    /// It is this program's turn, and the record may have changed until it came.
    pub(crate) fn on_claimed(
        mut self,
        record: &Record,
        wanted: ScopeSet,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        let Stage::Claim(found) = self.stage else { return Err(stray("load")) };
        self.job.catch_up(record, wanted, now);
        // Whoever had the turn before may have taken it up.
        let cached = self.job.cached.take().filter(|_| record.tokens.is_none());
        match cached {
            Some(cached) => Self::restore(self.job, cached, found, now, notes),
            None => {
                self.job.needs_person()?;
                Self::listen(self.job, found, now, notes)
            }
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
                notes.extend(self.job.other_port(&found, &redirect_uri, now));
                Self::identify(self.job, Place { found, redirect_uri }, now, notes)
            }
            _ => Err(stray("listen")),
        }
    }

    pub(crate) fn on_kept(self, now: UnixTime, notes: &mut Notes) -> Turn {
        match self.stage {
            Stage::Keep(identity, place) => Self::authorize(self.job, identity, place, now, notes),
            _ => Err(stray("save")),
        }
    }

    pub(crate) fn on_pause_over(self, now: UnixTime) -> Turn {
        match self.stage {
            Stage::Exchange(exchange, place) => {
                let (exchange, ask) = exchange.on_pause_over(now)?;
                Ok(Step::Ask(
                    Self { job: self.job, stage: Stage::Exchange(Box::new(exchange), place) },
                    ask,
                ))
            }
            Stage::Device(device, place) => Self::poll(self.job, *device, place, now),
            Stage::Restore(restore) => Self::restore_again(self.job, *restore, now),
            _ => Err(stray("tick")),
        }
    }

    /// A redirect came, genuine or not. `Err` gives the login back as it was, and what to show.
    pub(crate) fn on_redirect(
        self,
        url: &Secret,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Result<(Page, Turn), (Box<Self>, Page)> {
        let Stage::Authorize(authorize) = self.stage else {
            return Err((Box::new(self), Page::NotForUs));
        };
        match authorize.on_redirect(url, &self.job.config) {
            Landing::Ignored(why, page) => {
                notes.push(Notice::RedirectIgnored { why: why.into() });
                Err((Box::new(Self { job: self.job, stage: Stage::Authorize(authorize) }), page))
            }
            Landing::MixUp(kind) => {
                let error = Error::from(kind);
                Ok((Page::Failure(error.to_string()), Err(error)))
            }
            Landing::Refused(error) => {
                let page = Page::Failure(ErrorKind::Denied(error.clone()).to_string());
                let Authorize { found, identity, redirect_uri, .. } = *authorize;
                let place = Place { found, redirect_uri };
                let mut job = self.job;
                let turn = if error.is_refused_resource() && job.may_omit_resource() {
                    Self::authorize(job, identity, place, now, notes)
                } else if rejects_client(&error) {
                    let otherwise = ErrorKind::Denied(error);
                    Self::replace_client(job, identity, place, otherwise, now, notes)
                } else {
                    Err(ErrorKind::Denied(error).into())
                };
                Ok((page, turn))
            }
            Landing::Code(code, leniency) => {
                notes.push(Notice::Authorized);
                notes.extend(leniency.map(Notice::Lenient));
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
        if job.cached.is_none() {
            job.needs_person()?;
            device::is_possible(&job, &found)?;
        }
        Ok(Step::Ask(Self { job, stage: Stage::Claim(found) }, Ask::Claim))
    }

    fn listen(job: Job, found: Box<Discovery>, now: UnixTime, notes: &mut Notes) -> Turn {
        let by_code = job.by_code.then(|| job.likely_redirect_uri(&found));
        if let Some(redirect_uri) = job.config.redirect_uri.clone().or(by_code) {
            return Self::identify(job, Place { found, redirect_uri }, now, notes);
        }
        let (host, port) = (job.config.callback_host, job.callback_port(&found, now));
        let spec = ListenSpec { host, port, path: "/callback".into() };
        Ok(Step::Ask(Self { job, stage: Stage::Listen(found) }, Ask::Listen(spec)))
    }

    fn identify(mut job: Job, place: Place, now: UnixTime, notes: &mut Notes) -> Turn {
        let choice =
            identity::choose(job.known(&place.found), &place.found, &place.redirect_uri, now);
        if let Some(wish) = job.wish(&place.found, &place.redirect_uri, &choice, now) {
            return Ok(Step::Ask(
                Self { job, stage: Stage::LookAfter(place) },
                Ask::LookAfter(wish),
            ));
        }
        match choice? {
            Choice::Use(identity) => {
                notes.push(tell(&identity));
                Self::authorize(job, identity, place, now, notes)
            }
            Choice::Register => {
                let scope = job.scopes(&place.found);
                let grants = job.grants(&place.found);
                let uri = &place.redirect_uri;
                let step = Register::start(&place.found, &job.config, uri, grants, scope)?;
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

    fn authorize(
        job: Job,
        identity: Identity,
        place: Place,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        job.needs_person()?;
        match identity.find_secret() {
            Some((find, ask)) => {
                Ok(Step::Ask(Self { job, stage: Stage::Rehearse(find, identity, place) }, ask))
            }
            None => match &identity.key {
                Some(key) => {
                    let (jwt, ask) = key.jwt().begin();
                    Ok(Step::Ask(
                        Self { job, stage: Stage::RehearseKey(Box::new(jwt), identity, place) },
                        ask,
                    ))
                }
                None => Self::ask_person(job, identity, place, now, notes),
            },
        }
    }
}

/// Both mean the client; a server that forgot a registration says either.
pub(crate) fn rejects_client(error: &OAuthError) -> bool {
    error.is_unknown_client() || error.error == "unauthorized_client"
}

fn tell(identity: &Identity) -> Notice {
    Notice::Client { client_id: printable(&identity.client_id), source: identity.source }
}

fn stray(action: &'static str) -> Error {
    ErrorKind::Unanswered { action }.into()
}
