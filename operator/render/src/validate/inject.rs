//! Credentials that the egress gateway adds.

use super::ValidateError;
use crate::{
    endpoint::{Destination, Injected, MountedCredential, Origin, Rule},
    injection, syntax,
};
use sallyport_api::v1alpha1::{CaBundle, CredentialInjection, Egress};
use sallyport_policy::egress::{EgressHostRule, Injection};
use std::collections::{BTreeMap, BTreeSet};

/// The longest key of a Secret or ConfigMap.
const LONGEST_KEY: usize = 253;

/// What one rule has the gateway add.
pub(super) fn injection(origin: &Origin, inject: &CredentialInjection) -> Result<Injection, ValidateError> {
    let wrong = |source| ValidateError::EgressInject {
        rule: origin.to_string(),
        source,
    };
    let credential_key = key(origin, &inject.key)?;
    let authorities = inject.authorities.as_ref().map(|authorities| {
        let name = config_map(origin, authorities)?;
        Ok(injection::authorities_path(
            name,
            key(origin, &authorities.config_map.key)?,
        ))
    });
    Ok(Injection {
        header: inject.header.parse().map_err(wrong)?,
        prefix: inject.prefix.parse().map_err(wrong)?,
        file: injection::credential_path(&inject.credential, credential_key),
        authorities: authorities.transpose()?,
    })
}

/// Splits the credentials in those that the gateway alone mounts and those of the server.
pub(super) fn split(
    egress: &Egress,
    credentials: Vec<MountedCredential>,
) -> Result<(Injected, Vec<MountedCredential>), ValidateError> {
    let mut names = BTreeSet::new();
    let mut authorities = BTreeSet::new();
    let mut hosts: BTreeMap<&str, bool> = BTreeMap::new();
    for (index, rule) in egress.allow.iter().enumerate() {
        let origin = Origin::Allow(index);
        let Some(host) = &rule.host else { continue };
        // Which of two rules for one name decides, nobody should have to know.
        let before = hosts.insert(host, rule.inject.is_some());
        if before.is_some_and(|injects| injects || rule.inject.is_some()) {
            return Err(ValidateError::EgressInjectTwice {
                rule: origin.to_string(),
                host: host.clone(),
            });
        }
        let Some(inject) = &rule.inject else { continue };
        if !credentials.iter().any(|known| known.name == inject.credential) {
            return Err(ValidateError::EgressInjectCredential {
                rule: origin.to_string(),
                name: inject.credential.clone(),
            });
        }
        names.insert(inject.credential.as_str());
        if let Some(config) = &inject.authorities {
            authorities.insert(config_map(&origin, config)?.to_owned());
        }
    }
    let (injected, own) = credentials
        .into_iter()
        .partition(|known| names.contains(known.name.as_str()));
    Ok((
        Injected {
            credentials: injected,
            authorities,
        },
        own,
    ))
}

/// Refuses a host to which a credential is added and that the audit sidecar reaches on the same port.
///
/// The gateway cannot tell the sidecar from the server, whose pod it shares: it would end the sidecar's TLS too, with a
/// certificate that the server alone trusts, and every token would be refused.
pub(super) fn apart_from_the_sidecars(rules: &[Rule]) -> Result<(), ValidateError> {
    let (servers, sidecars): (Vec<_>, Vec<_>) = rules
        .iter()
        .filter_map(|rule| match &rule.destination {
            Destination::Host(host) => Some((&rule.origin, host)),
            Destination::Network { .. } | Destination::KubernetesApi { .. } | Destination::Service { .. } => None,
        })
        .partition(|(origin, _)| matches!(origin, Origin::Allow(_)));
    for (origin, host) in servers.iter().filter(|(_, host)| host.inject.is_some()) {
        let same = |other: &EgressHostRule| other.host == host.host && !other.ports.is_disjoint(&host.ports);
        if let Some((field, other)) = sidecars.iter().find(|(_, other)| same(other)) {
            return Err(ValidateError::EgressInjectSidecar {
                rule: origin.to_string(),
                field: field.to_string(),
                host: other.to_string(),
            });
        }
    }
    Ok(())
}

/// A key is a file's name below its volume.
fn key<'a>(origin: &Origin, key: &'a str) -> Result<&'a str, ValidateError> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if key.is_empty() || key.len() > LONGEST_KEY || key == "." || key.starts_with("..") || !key.bytes().all(valid) {
        return Err(ValidateError::EgressInjectKey {
            rule: origin.to_string(),
            key: key.to_owned(),
        });
    }
    Ok(key)
}

fn config_map<'a>(origin: &Origin, authorities: &'a CaBundle) -> Result<&'a str, ValidateError> {
    let name = authorities.config_map.name.as_str();
    if syntax::is_dns_subdomain(name) {
        Ok(name)
    } else {
        Err(ValidateError::EgressInjectAuthorities {
            rule: origin.to_string(),
            name: name.to_owned(),
        })
    }
}
