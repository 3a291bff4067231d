//! `mcp-auth inspect URL`: what the server says, step by step, and what a login would do.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use mcp_auth::{ClientSource, Discovery, Notice, Proposal, Provenance};
use serde_json::{Value, json};

use super::Call;
use crate::args::InspectArgs;
use crate::failure::{Exit, Failure};
use crate::report::{self, tame};

/// What the inspection told on its way.
#[derive(Default)]
struct Told {
    steps: Vec<String>,
    proposal: Option<Proposal>,
}

pub fn run(args: &InspectArgs, call: Call) -> Result<Exit, Failure> {
    let chosen = args.settings.alone(call.report)?;
    let told = Arc::new(Mutex::new(Told::default()));
    let (hears, json) = (told.clone(), call.report.json);
    let session = call.open(&args.target.entry()?, chosen, None, move |notice| {
        let mut told = hears.lock().unwrap_or_else(PoisonError::into_inner);
        match notice {
            Notice::Failed(_) => {}
            Notice::Proposed(proposal) => told.proposal = Some(proposal.clone()),
            step => {
                if !json {
                    // The summary tells if stdout fails.
                    let _ = report::print(format_args!("- {step}\n"));
                }
                told.steps.push(step.to_string());
            }
        }
    })?;
    let found = session.inspect()?;
    let told = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
    let server = &args.target.url.0;
    let mut data = data(server, found.as_ref(), &told);
    let mut text = text(server, found.as_ref(), told.proposal.as_ref());
    let skew = session.clock_skew();
    data["clock_skew"] = skew.as_ref().map(report::clock_skew).into();
    if let Some(skew) = skew {
        let _ = writeln!(text, "Beware: {skew}.\n  advice: {}", skew.advice());
    }
    call.report.result(text, data)?;
    Ok(Exit::Done)
}

fn text(server: &str, found: Option<&Discovery>, proposal: Option<&Proposal>) -> String {
    let Some(found) = found else {
        return format!("\n{server} wants no authorization.\n");
    };
    let mut text = format!("\n{server} wants authorization.\n");
    let mut line = |name: &str, value: &str| {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "  {name:<15}{}", tame(value));
    };
    let as_found = &found.server;
    line("resource", &found.resource);
    line("  described at", found.resource_metadata_url.as_deref().unwrap_or("(nowhere)"));
    line("issuer", &as_found.issuer);
    line("  known from", provenance(found.provenance));
    line("  described at", found.server_metadata_url.as_deref().unwrap_or("(nowhere)"));
    for (name, endpoint) in endpoints(found) {
        line(name, endpoint.unwrap_or("(none)"));
    }
    let methods = as_found.code_challenge_methods_supported.as_ref();
    line("PKCE", &methods.map_or("(not announced)".into(), |methods| methods.join(" ")));
    for leniency in &found.leniencies {
        line("leniency", &leniency.to_string());
    }
    text.push_str("A login would\n");
    if let Some(proposal) = proposal {
        let (client, resource) = (client(proposal), &proposal.resource);
        let _ = writeln!(text, "  {client}");
        let _ = match proposal.scopes.is_empty() {
            true => writeln!(text, "  ask for no scopes in particular"),
            false => writeln!(text, "  ask for the scopes {}", proposal.scopes),
        };
        let _ = match resource {
            Some(resource) => writeln!(text, "  for the resource {}", tame(resource)),
            None => writeln!(text, "  without a resource indicator"),
        };
    }
    text
}

fn client(proposal: &Proposal) -> String {
    let named = |id: &Option<String>| id.clone().unwrap_or_default();
    match &proposal.client {
        Ok((ClientSource::Configured, id)) => format!("go as the configured client {}", named(id)),
        Ok((ClientSource::MetadataDocument, id)) => {
            format!("go as the client that {} describes", named(id))
        }
        Ok((ClientSource::Remembered, id)) => {
            format!("go as the client {}, registered earlier", named(id))
        }
        Ok(_) => "register a client of its own first".into(),
        Err(error) => format!(
            "fail: {error}\n  advice: {}",
            Failure::from(error.clone()).advice().unwrap_or_default()
        ),
    }
}

fn data(server: &str, found: Option<&Discovery>, told: &Told) -> Value {
    let Some(found) = found else {
        return json!({
            "server": server, "authorization_required": false, "steps": told.steps,
        });
    };
    let endpoints: serde_json::Map<_, _> = endpoints(found)
        .into_iter()
        .map(|(name, endpoint)| (name.to_owned(), endpoint.into()))
        .collect();
    let login = told.proposal.as_ref().map(|proposal| {
        let (source, client_id) = proposal.client.clone().ok().unzip();
        json!({
            "possible": proposal.client.is_ok(),
            "client": source.map(source_name),
            "client_id": client_id.flatten(),
            "scopes": proposal.scopes.iter().collect::<Vec<_>>(),
            "resource": proposal.resource,
        })
    });
    json!({
        "server": server,
        "authorization_required": true,
        "resource": found.resource,
        "resource_metadata_url": found.resource_metadata_url,
        "issuer": found.server.issuer,
        "issuer_known_from": found.provenance,
        "server_metadata_url": found.server_metadata_url,
        "endpoints": endpoints,
        "code_challenge_methods": found.server.code_challenge_methods_supported,
        "leniencies": found.leniencies,
        "login": login,
        "steps": told.steps,
    })
}

fn endpoints(found: &Discovery) -> [(&'static str, Option<&str>); 5] {
    let server = &found.server;
    [
        ("authorization", server.authorization_endpoint.as_deref()),
        ("token", server.token_endpoint.as_deref()),
        ("registration", server.registration_endpoint.as_deref()),
        ("revocation", server.revocation_endpoint.as_deref()),
        ("device", server.device_authorization_endpoint.as_deref()),
    ]
}

fn provenance(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Configured => "the settings",
        Provenance::ResourceMetadata => "the resource's metadata",
        Provenance::Realm => "the challenge's realm",
        Provenance::Origin => "the MCP server's own origin (2025-03-26)",
        _ => "(unknown)",
    }
}

fn source_name(source: ClientSource) -> &'static str {
    match source {
        ClientSource::Configured => "configured",
        ClientSource::MetadataDocument => "metadata_document",
        ClientSource::Registered => "to_be_registered",
        ClientSource::Remembered => "registered_earlier",
        _ => "unknown",
    }
}
