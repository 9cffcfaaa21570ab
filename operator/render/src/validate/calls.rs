//! What admitted callers may do: rules, tools, confirmation, limits, origins, and what is recorded of it.
//!
//! The spec says most of it in the words of the policy file, so that what the policy's types refuse to read is refused here,
//! in their words.

use super::{ValidateError, callers, egress};
use crate::{
    endpoint::{Origin, Rule},
    keys::Bundle,
    syntax,
};
use sallyport_api::{
    McpEndpointClassSpec, McpEndpointSpec,
    v1alpha1::{self as api, Access, LimitCeilings},
};
use sallyport_policy::{
    ArgumentsMode, AuditFormat, AuditPolicy, AuditSinks, Confirmation, ConfirmedTools, LegacyConfirmation, Limits,
    OnSinkFailure, OtlpSink, Rate,
    authorization::{Authorization, ParseGlobError},
    tools::ToolPolicy,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::num::NonZeroU32;

const EXPIRY: std::ops::RangeInclusive<i32> = 10..=3600;

/// Rules over every admitted caller, if the endpoint writes none.
pub(super) fn authorization(spec: Option<&api::Authorization>) -> Result<Authorization, ValidateError> {
    const FIELD: &str = "authorization";
    let Some(spec) = spec else {
        return Ok(Authorization::of_everybody());
    };
    if spec.rules.is_empty() {
        return Err(ValidateError::Rules);
    }
    let mut written: Value = read(FIELD, serde_json::to_value(spec))?;
    let rules = written.get_mut("rules").and_then(Value::as_array_mut);
    let callers = rules
        .into_iter()
        .flatten()
        .filter_map(|rule| rule.get_mut("from")?.as_array_mut());
    for caller in callers.flatten().filter_map(Value::as_object_mut) {
        // The policy has one map of claims, whatever the type of their values.
        let Some(Value::Object(flags)) = caller.remove("flags") else {
            continue;
        };
        let claims = caller.entry("claims").or_insert_with(|| json!({}));
        for (name, value) in flags {
            if claims.get(&name).is_some() {
                return Err(ValidateError::Duplicate {
                    field: "authorization.rules[].from[].flags",
                    name,
                });
            }
            claims[name] = json!([value]);
        }
    }
    read(FIELD, Ok(written))
}

/// Every tool of whatever definition, if the endpoint says nothing of them.
pub(super) fn tools(spec: Option<&api::Tools>) -> Result<ToolPolicy, ValidateError> {
    let Some(spec) = spec else {
        return Ok(ToolPolicy::of_any_tool());
    };
    let unpinned = spec.unpinned.unwrap_or(if spec.pins.is_empty() {
        api::Unpinned::Allow
    } else {
        api::Unpinned::Deny
    });
    let spec = api::Tools {
        unpinned: Some(unpinned),
        // Extensions are of the protocol, and so of another part of the policy.
        extensions: vec![],
        ..spec.clone()
    };
    same("tools", &spec)
}

pub(super) fn confirmation(
    spec: &McpEndpointSpec,
    class: &McpEndpointClassSpec,
) -> Result<Confirmation, ValidateError> {
    let Some(written) = &spec.confirmation else {
        let declared = spec.tools.as_ref().is_some_and(|tools| !tools.side_effects.is_empty());
        return Ok(Confirmation {
            tools: if declared {
                ConfirmedTools::Destructive
            } else {
                ConfirmedTools::Nothing
            },
            ..Confirmation::default()
        });
    };
    if !EXPIRY.contains(&written.expiry_seconds) {
        return Err(ValidateError::Limit {
            field: "confirmation.expirySeconds",
            value: i64::from(written.expiry_seconds),
        });
    }
    let legacy = match written.legacy {
        api::LegacyConfirmation::Deny => LegacyConfirmation::Deny,
        api::LegacyConfirmation::Token if class.allow_token_confirmation => LegacyConfirmation::Token,
        api::LegacyConfirmation::Token => return Err(ValidateError::ClassToken),
    };
    let tools = match (written.destructive, &written.tools) {
        (true, tools) if tools.is_empty() => ConfirmedTools::Destructive,
        (true, tools) => ConfirmedTools::DestructiveAnd(read("confirmation.tools", Ok(json!(tools)))?),
        (false, tools) if tools.is_empty() => ConfirmedTools::Nothing,
        (false, _) => return Err(ValidateError::ConfirmedTools),
    };
    Ok(Confirmation {
        tools,
        expiry_seconds: u32::try_from(written.expiry_seconds).unwrap_or_default(),
        legacy,
    })
}

/// What the endpoint asks for, as far as its class allows; its class's ceiling or the default, whichever is lower, where it
/// asks for nothing.
pub(super) fn limits(spec: Option<&api::Limits>, ceilings: &LimitCeilings) -> Result<Limits, ValidateError> {
    let spec = spec.cloned().unwrap_or_default();
    let default = Limits::default();
    let small = |value: Option<i32>| value.map(i64::from);
    Ok(Limits {
        body_bytes: bounded(
            "limits.bodyBytes",
            spec.body_bytes,
            ceilings.body_bytes,
            default.body_bytes,
        )?,
        json_depth: bounded("limits.jsonDepth", small(spec.json_depth), None, default.json_depth)?,
        response_bytes: bounded(
            "limits.responseBytes",
            spec.response_bytes,
            ceilings.response_bytes,
            default.response_bytes,
        )?,
        event_bytes: bounded("limits.eventBytes", spec.event_bytes, None, default.event_bytes)?,
        response_header_seconds: bounded(
            "limits.responseHeaderSeconds",
            small(spec.response_header_seconds),
            small(ceilings.request_seconds),
            default.response_header_seconds,
        )?,
        request_seconds: bounded(
            "limits.requestSeconds",
            small(spec.request_seconds),
            small(ceilings.request_seconds),
            default.request_seconds,
        )?,
        stream_seconds: bounded(
            "limits.streamSeconds",
            small(spec.stream_seconds),
            small(ceilings.stream_seconds),
            default.stream_seconds,
        )?,
        connections: bounded("limits.connections", small(spec.connections), None, default.connections)?,
        concurrent_requests: bounded(
            "limits.concurrentRequests",
            small(spec.concurrent_requests),
            small(ceilings.concurrent_requests),
            default.concurrent_requests,
        )?,
        concurrent_requests_per_principal: bounded(
            "limits.concurrentRequestsPerPrincipal",
            small(spec.concurrent_requests_per_principal),
            None,
            default.concurrent_requests_per_principal,
        )?,
        concurrent_streams_per_principal: bounded(
            "limits.concurrentStreamsPerPrincipal",
            small(spec.concurrent_streams_per_principal),
            None,
            default.concurrent_streams_per_principal,
        )?,
        rates: rates(spec.rates.as_ref(), ceilings)?,
        ..default
    })
}

fn rates(spec: Option<&api::Rates>, ceilings: &LimitCeilings) -> Result<sallyport_policy::Rates, ValidateError> {
    const FIELD: &str = "limits.rates";
    let default = sallyport_policy::Rates::default();
    let spec = spec.cloned().unwrap_or_default();
    let read = |rate: &api::Rate| {
        let whole = |number: i32| u32::try_from(number).ok().and_then(NonZeroU32::new);
        let read = (
            whole(rate.requests),
            whole(rate.seconds),
            whole(rate.burst.unwrap_or(rate.requests)),
        );
        match read {
            (Some(requests), Some(seconds), Some(burst)) => Ok(Rate {
                requests,
                seconds,
                burst,
            }),
            _ => Err(ValidateError::Limit {
                field: FIELD,
                value: i64::from(rate.requests.min(rate.seconds)),
            }),
        }
    };
    let mut per_principal = spec.per_principal.as_ref().map(read).transpose()?;
    if let Some(most) = ceilings.requests_per_minute.and_then(|most| u32::try_from(most).ok()) {
        let a_minute = |rate: Rate| u64::from(rate.requests.get()) * 60 / u64::from(rate.seconds.get());
        match per_principal {
            Some(rate) if a_minute(rate) > u64::from(most) => {
                return Err(ValidateError::Ceiling {
                    field: "limits.rates.perPrincipal",
                    value: i64::try_from(a_minute(rate)).unwrap_or(i64::MAX),
                    most: i64::from(most),
                });
            }
            None if a_minute(default.per_principal) > u64::from(most) => {
                per_principal = Some(Rate::per_minute(most, most.min(default.per_principal.burst.get())));
            }
            _ => {}
        }
    }
    let tools = spec.tools.iter().map(|tool| {
        Ok(sallyport_policy::ToolRate {
            tool: tool
                .tool
                .parse()
                .map_err(|error: ParseGlobError| ValidateError::Policy {
                    field: FIELD,
                    message: error.to_string(),
                })?,
            rate: read(&tool.rate)?,
        })
    });
    Ok(sallyport_policy::Rates {
        per_principal: per_principal.unwrap_or(default.per_principal),
        per_tool: spec
            .per_tool
            .as_ref()
            .map(read)
            .transpose()?
            .unwrap_or(default.per_tool),
        tools: tools.collect::<Result<_, _>>()?,
        ..default
    })
}

/// `value` within its class's ceiling, or the lower of that and `default`.
fn bounded<N>(field: &'static str, value: Option<i64>, ceiling: Option<i64>, default: N) -> Result<N, ValidateError>
where
    N: TryFrom<i64> + Copy,
    i64: TryFrom<N>,
{
    let fits = |value: i64| {
        let number = N::try_from(value).ok().filter(|_| value > 0);
        number.ok_or(ValidateError::Limit { field, value })
    };
    match (value, ceiling) {
        (Some(value), Some(most)) if value > most => Err(ValidateError::Ceiling { field, value, most }),
        (Some(value), _) => fits(value),
        (None, Some(most)) if i64::try_from(default).is_ok_and(|default| default > most) => fits(most),
        (None, _) => Ok(default),
    }
}

/// What is recorded, with the collector that the sidecar reaches for it.
pub(super) struct Recording {
    pub policy: AuditPolicy,
    pub bundle: Option<Bundle>,
    pub target: Option<Rule>,
}

pub(super) fn recording(spec: &api::Audit, forbidden: &[crate::Network]) -> Result<Recording, ValidateError> {
    let mut recording = Recording {
        policy: AuditPolicy {
            arguments: match spec.arguments {
                api::AuditArguments::Digest => ArgumentsMode::Digest,
                api::AuditArguments::Redacted => ArgumentsMode::Redacted,
                api::AuditArguments::Full => ArgumentsMode::Full,
            },
            format: match spec.format {
                api::AuditFormat::Json => AuditFormat::Json,
                api::AuditFormat::Ocsf => AuditFormat::Ocsf,
            },
            sinks: AuditSinks::default(),
            on_sink_failure: match spec.on_sink_failure {
                api::OnSinkFailure::Block => OnSinkFailure::Block,
                api::OnSinkFailure::Drop => OnSinkFailure::Drop,
            },
        },
        bundle: None,
        target: None,
    };
    if let Some(otlp) = &spec.otlp {
        let bundle = otlp.ca_bundle.as_ref();
        let bundle = bundle
            .map(|bundle| callers::bundle("collector".to_owned(), bundle))
            .transpose()?;
        let origin = Origin::Collector;
        let destination = egress::address_target(&origin, &otlp.endpoint, otlp.service.as_ref(), forbidden)?;
        recording.policy.sinks.otlp = Some(OtlpSink {
            endpoint: otlp.endpoint.clone(),
            ca_file: bundle.as_ref().map(Bundle::path),
            traces: otlp.traces,
        });
        recording.bundle = bundle;
        recording.target = Some(Rule { origin, destination });
    }
    recording.policy.check().map_err(|error| ValidateError::Policy {
        field: "audit",
        message: error.to_string(),
    })?;
    Ok(recording)
}

/// Origins of web pages that may call, and the host of the URL under which the endpoint is reached from outside.
pub(super) fn outside(access: &Access) -> Result<(Vec<String>, Option<String>), ValidateError> {
    let is_origin = |origin: &&String| {
        syntax::url(origin)
            .is_some_and(|url| url.path.is_empty() && (url.tls || matches!(url.host, "localhost" | "127.0.0.1")))
    };
    if let Some(origin) = access.origins.iter().find(|origin| !is_origin(origin)) {
        return Err(ValidateError::Origin {
            origin: (*origin).clone(),
        });
    }
    let host = access.external_url.as_ref().map(|text| match syntax::url(text) {
        Some(url) if url.path.is_empty() || syntax::is_url_path_of(url.path, 512) => Ok(url.authority().to_owned()),
        _ => Err(ValidateError::ExternalUrl { url: text.clone() }),
    });
    Ok((access.origins.clone(), host.transpose()?))
}

/// Reads what is written in the words of the policy.
fn same<T: Serialize, P: DeserializeOwned>(field: &'static str, written: &T) -> Result<P, ValidateError> {
    read(field, serde_json::to_value(written))
}

fn read<P: DeserializeOwned>(
    field: &'static str,
    written: Result<Value, serde_json::Error>,
) -> Result<P, ValidateError> {
    written
        .and_then(serde_json::from_value)
        .map_err(|error| ValidateError::Policy {
            field,
            message: error.to_string(),
        })
}
