//! Who may call: authentication, TLS, sealing keys, and what the audit sidecar mounts and reaches for them.

use super::{ValidateError, egress};
use crate::{
    CredentialFact, Facts,
    endpoint::{Origin, Rule},
    keys::{Bundle, Key},
    syntax,
};
use sallyport_api::{
    McpEndpointClassSpec, McpEndpointSpec,
    v1alpha1::{self as api, API_KEYS, CLIENT_SECRET, CaBundle, CredentialSource, SEALING, TLS, TokenType},
};
use sallyport_policy::{
    Authentication, Confirmation, ConfirmedTools, Sealing, Tls,
    authentication::{self as policy, Verification},
};
use std::collections::BTreeSet;

const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";

/// Who may call, and what that takes.
#[derive(Debug)]
pub(super) struct Callers {
    pub authentication: Authentication,
    pub tls: Option<Tls>,
    pub sealing: Sealing,
    pub keys: Vec<Key>,
    pub bundles: Vec<Bundle>,
    /// Hosts that the sidecar asks.
    pub targets: Vec<Rule>,
}

/// What is collected on the way.
struct Mounts<'a> {
    facts: &'a Facts,
    keys: Vec<Key>,
    bundles: Vec<Bundle>,
}

pub(super) fn callers(
    spec: &McpEndpointSpec,
    class: &McpEndpointClassSpec,
    facts: &Facts,
    confirmation: &Confirmation,
) -> Result<Callers, ValidateError> {
    let mut mounts = Mounts {
        facts,
        keys: vec![],
        bundles: vec![],
    };
    let mut targets = vec![];
    let authentication = match &spec.authentication {
        Some(written) => authentication(written, spec, &mut mounts, &mut targets)?,
        None => Authentication::anonymous(),
    };
    if authentication.anonymous && !class.allow_anonymous {
        return Err(ValidateError::ClassAnonymous);
    }
    let tls = spec.tls.as_ref().map(|tls| mounts.tls(tls)).transpose()?;
    Ok(Callers {
        sealing: sealing(spec, &authentication, confirmation, &mut mounts)?,
        authentication,
        tls,
        keys: mounts.keys,
        bundles: mounts.bundles,
        targets,
    })
}

fn authentication(
    written: &api::Authentication,
    spec: &McpEndpointSpec,
    mounts: &mut Mounts<'_>,
    targets: &mut Vec<Rule>,
) -> Result<Authentication, ValidateError> {
    let api_keys = written.api_keys.as_ref().map(|keys| {
        let file = mounts.key(API_KEYS, "api-keys", &keys.from, &[&keys.key])?;
        Ok(policy::ApiKeys { file })
    });
    let api_keys = api_keys.transpose()?;
    let oauth = written
        .oauth
        .as_ref()
        .map(|oauth| self::oauth(oauth, mounts, targets))
        .transpose()?;
    let client_certificates = written.client_certificates.as_ref().map(|certificates| {
        if spec.tls.is_none() {
            return Err(ValidateError::CertificatesWithoutTls);
        }
        let ca_file = mounts.bundle("clients".to_owned(), &certificates.ca_bundle)?;
        Ok(policy::ClientCertificates { ca_file })
    });
    let authentication = Authentication {
        anonymous: written.anonymous,
        api_keys,
        oauth,
        client_certificates: client_certificates.transpose()?,
    };
    if authentication.anonymous || authentication.has_method() {
        Ok(authentication)
    } else {
        Err(ValidateError::AuthenticationMethod)
    }
}

fn oauth(oauth: &api::OAuth, mounts: &mut Mounts<'_>, targets: &mut Vec<Rule>) -> Result<policy::OAuth, ValidateError> {
    if !is_resource(&oauth.resource) {
        return Err(ValidateError::Resource {
            resource: oauth.resource.clone(),
        });
    }
    if oauth.issuers.is_empty() {
        return Err(ValidateError::Issuers);
    }
    if oauth
        .issuers
        .iter()
        .filter(|issuer| issuer.introspection.is_some())
        .count()
        > 1
    {
        return Err(ValidateError::Introspections);
    }
    let named = oauth.scopes_supported.iter();
    if let Some(scope) = named.into_iter().find(|scope| !is_offered_scope(scope)) {
        return Err(ValidateError::ScopeSupported { scope: scope.clone() });
    }
    let mut seen = BTreeSet::new();
    let mut issuers = vec![];
    for (index, written) in oauth.issuers.iter().enumerate() {
        super::unique("authentication.oauth.issuers[].issuer", &written.issuer, &mut seen)?;
        issuers.push(issuer(index, written, mounts, targets)?);
    }
    Ok(policy::OAuth {
        resource_name: oauth.resource_name.clone(),
        scopes_supported: oauth.scopes_supported.clone(),
        not_before: oauth.not_before.as_ref().map(|time| time.0.as_second()),
        ..policy::OAuth::new(oauth.resource.clone(), issuers)
    })
}

fn issuer(
    index: usize,
    written: &api::Issuer,
    mounts: &mut Mounts<'_>,
    targets: &mut Vec<Rule>,
) -> Result<policy::Issuer, ValidateError> {
    if !syntax::is_https_url(&written.issuer) {
        return Err(ValidateError::Issuer {
            issuer: written.issuer.clone(),
        });
    }
    let origin = Origin::Sidecar(format!("authentication.oauth.issuers[{index}]"));
    let (url, verify) = match (&written.jwks, &written.introspection) {
        (Some(jwks), None) => (&jwks.url, Verification::Jwks(self::jwks(jwks))),
        (None, Some(asked)) => {
            let secret = &asked.client_secret;
            let file = mounts.key(CLIENT_SECRET, "introspection", &secret.from, &[&secret.key])?;
            let introspection = policy::Introspection {
                cache_seconds: u32::try_from(asked.cache_seconds).unwrap_or_default(),
                ..policy::Introspection::new(asked.url.clone(), asked.client_id.clone(), file)
            };
            (&asked.url, Verification::Introspection(introspection))
        }
        _ => {
            return Err(ValidateError::IssuerForm {
                issuer: written.issuer.clone(),
            });
        }
    };
    let destination = egress::https_target(&origin, url)?;
    targets.push(Rule { origin, destination });
    let names = policy::ClaimNames::default();
    let claims = written.claims.clone().unwrap_or_default();
    let bundle = written.ca_bundle.as_ref();
    Ok(policy::Issuer {
        issuer: written.issuer.clone(),
        verify,
        audiences: written.audiences.clone(),
        claims: policy::ClaimNames {
            subject: claims.subject.unwrap_or(names.subject),
            client: claims.client.unwrap_or(names.client),
            scope: claims.scope.unwrap_or(names.scope),
            roles: claims.roles.unwrap_or(names.roles),
        },
        not_before: written.not_before.as_ref().map(|time| time.0.as_second()),
        ca_file: bundle
            .map(|bundle| mounts.bundle(format!("issuer-{index}"), bundle))
            .transpose()?,
    })
}

fn jwks(jwks: &api::Jwks) -> policy::Jwks {
    let algorithm = |algorithm: &api::Algorithm| match algorithm {
        api::Algorithm::RS256 => policy::Algorithm::RS256,
        api::Algorithm::ES256 => policy::Algorithm::ES256,
        api::Algorithm::EdDSA => policy::Algorithm::EdDSA,
    };
    let named: BTreeSet<_> = jwks.algorithms.iter().map(algorithm).collect();
    let every = policy::Jwks::new(jwks.url.clone());
    policy::Jwks {
        algorithms: if named.is_empty() {
            every.algorithms
        } else {
            named.into_iter().collect()
        },
        token_type: match jwks.token_type {
            TokenType::AtJwt => policy::TokenType::AtJwt,
            TokenType::Jwt => policy::TokenType::Jwt,
        },
        ..every
    }
}

/// Keys that replicas share; of one process where there is one replica, or nothing that belongs to one caller.
fn sealing(
    spec: &McpEndpointSpec,
    authentication: &Authentication,
    confirmation: &Confirmation,
    mounts: &mut Mounts<'_>,
) -> Result<Sealing, ValidateError> {
    let Some(sealing) = &spec.sealing else {
        let needed = authentication.has_method() || confirmation.tools != ConfirmedTools::Nothing;
        return if spec.replicas > 1 && needed {
            Err(ValidateError::SealingMissing)
        } else {
            Ok(Sealing::default())
        };
    };
    Ok(Sealing {
        keys_file: Some(mounts.key(SEALING, "sealing", &sealing.from, &[&sealing.key])?),
        peer_port: None,
    })
}

impl Mounts<'_> {
    /// Mounts a Secret into the sidecar; the path of the first of `files`.
    fn key(
        &mut self,
        field: &'static str,
        name: &'static str,
        from: &CredentialSource,
        files: &[&str],
    ) -> Result<String, ValidateError> {
        let secret_name = super::secret_of(field, from)?;
        if let Some(key) = files.iter().find(|key| !syntax::is_data_key(key)) {
            return Err(ValidateError::DataKey {
                field: field.to_owned(),
                key: (*key).to_owned(),
            });
        }
        let key = Key {
            field,
            name,
            secret_name,
            files: files.iter().map(|&file| file.to_owned()).collect(),
            revision: match self.facts.credentials.get(field) {
                Some(CredentialFact::Synced { revision }) => Some(revision.clone()),
                _ => None,
            },
        };
        let path = files.first().map(|file| key.path(file)).unwrap_or_default();
        self.keys.push(key);
        Ok(path)
    }

    fn tls(&mut self, tls: &api::Tls) -> Result<Tls, ValidateError> {
        let certificate_file = self.key(TLS, "tls", &tls.from, &[CERTIFICATE, PRIVATE_KEY])?;
        let key = self.keys.last().map(|key| key.path(PRIVATE_KEY));
        Ok(Tls {
            certificate_file,
            key_file: key.unwrap_or_default(),
        })
    }

    /// Mounts certificate authorities into the sidecar; the path of their file.
    pub fn bundle(&mut self, name: String, bundle: &CaBundle) -> Result<String, ValidateError> {
        let bundle = self::bundle(name, bundle)?;
        let path = bundle.path();
        self.bundles.push(bundle);
        Ok(path)
    }
}

/// Certificate authorities out of a ConfigMap.
pub(super) fn bundle(name: String, bundle: &CaBundle) -> Result<Bundle, ValidateError> {
    let source = &bundle.config_map;
    if !syntax::is_dns_subdomain(&source.name) {
        return Err(ValidateError::ConfigMapName {
            name: source.name.clone(),
        });
    }
    if !syntax::is_data_key(&source.key) {
        return Err(ValidateError::DataKey {
            field: "caBundle.configMap".to_owned(),
            key: source.key.clone(),
        });
    }
    Ok(Bundle {
        name,
        config_map: source.name.clone(),
        key: source.key.clone(),
    })
}

/// An https URL of an endpoint, or an http one of this cluster.
fn is_resource(text: &str) -> bool {
    let local = |host: &str| {
        let of_cluster = host.split('.').skip(1).any(|label| label == "svc");
        of_cluster || matches!(host, "localhost" | "127.0.0.1")
    };
    syntax::url(text).is_some_and(|url| {
        let path = url.path.starts_with('/') && syntax::is_url_path_of(url.path, 512);
        path && (url.tls || local(url.host))
    })
}

/// A scope token (RFC 6749 section 3.3) that a client may be told of: no wildcard, no `offline_access`.
fn is_offered_scope(scope: &str) -> bool {
    let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e) && byte != b'*';
    !scope.is_empty() && scope.bytes().all(fits) && scope != "offline_access"
}
