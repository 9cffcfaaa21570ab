//! The endpoint's protected resource metadata (RFC 9728) and the identifier of the endpoint (RFC 8707).

use bytes::Bytes;
use http::Uri;
use sallyport_policy::authentication::OAuth;
use serde_json::json;

/// Where metadata is served (RFC 9728 section 3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// An endpoint's identifier that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("the resource {0:?} is no URL of an endpoint: write https://host/path, without query, fragment or user")]
pub struct ResourceError(String);

/// The metadata document and its places.
#[derive(Clone, Debug)]
pub struct Metadata {
    url: String,
    paths: Vec<String>,
    document: Bytes,
}

impl Metadata {
    /// The metadata of the endpoint that `oauth` describes; `bound_tokens`: whether tokens bound to client certificates
    /// can be used. `local_path` is where the endpoint is served, which differs from the path of the resource where something
    /// in between strips a prefix.
    ///
    /// # Errors
    ///
    /// When the resource is no URL of an endpoint.
    pub fn new(oauth: &OAuth, local_path: &str, bound_tokens: bool) -> Result<Self, ResourceError> {
        let error = || ResourceError(oauth.resource.clone());
        let resource: Uri = oauth.resource.parse().map_err(|_| error())?;
        let scheme = resource
            .scheme_str()
            .filter(|scheme| ["http", "https"].contains(scheme));
        let authority = resource
            .authority()
            .filter(|authority| !authority.as_str().contains('@'));
        let (scheme, authority) = scheme.zip(authority).ok_or_else(error)?;
        if resource.query().is_some() || oauth.resource.contains('#') {
            return Err(error());
        }
        let place = |path: &str| format!("{WELL_KNOWN}{}", path.trim_end_matches('/'));
        let external = place(resource.path());
        let mut paths = vec![WELL_KNOWN.to_owned(), external.clone(), place(local_path)];
        paths.dedup();
        Ok(Self {
            url: format!("{scheme}://{}{external}", authority.as_str().to_ascii_lowercase()),
            paths,
            document: document(oauth, bound_tokens),
        })
    }

    /// Where clients find the document.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The document, if `path` is one of its places: the path form or the root form.
    pub fn at(&self, path: &str) -> Option<Bytes> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.paths
            .iter()
            .any(|place| place == path)
            .then(|| self.document.clone())
    }
}

fn document(oauth: &OAuth, bound_tokens: bool) -> Bytes {
    let issuers: Vec<&str> = oauth.issuers.iter().map(|issuer| issuer.issuer.as_str()).collect();
    let mut document = json!({
        "resource": oauth.resource,
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
    });
    let scopes: Vec<&str> = advertised(&oauth.scopes_supported).collect();
    if !scopes.is_empty() {
        document["scopes_supported"] = json!(scopes);
    }
    if let Some(name) = &oauth.resource_name {
        document["resource_name"] = json!(name);
    }
    if bound_tokens {
        document["tls_client_certificate_bound_access_tokens"] = json!(true);
    }
    document.to_string().into()
}

/// The scopes that clients are told of: `offline_access` asks for more than a call needs and is never one of them.
pub fn advertised(scopes: &[String]) -> impl Iterator<Item = &str> {
    scopes
        .iter()
        .map(String::as_str)
        .filter(|scope| *scope != "offline_access")
}

/// `text` in the one form in which identifiers of resources are compared: scheme and host in lower case, no slash at the
/// end. Anything that is no HTTP URL stays as it is.
pub fn canonical(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return text.to_owned();
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.to_ascii_lowercase();
    format!("{scheme}://{host}{}", path.strip_suffix('/').unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use sallyport_policy::authentication::{ClaimNames, Introspection, Issuer, Verification};

    fn oauth(resource: &str) -> OAuth {
        let issuer = Issuer {
            issuer: "https://i.example".into(),
            verify: Verification::Introspection(Introspection::new("https://i.example/i", "c", "f")),
            audiences: vec![],
            claims: ClaimNames::default(),
            not_before: None,
            ca_file: None,
        };
        OAuth {
            scopes_supported: vec!["read".into(), "offline_access".into()],
            ..OAuth::new(resource, vec![issuer])
        }
    }

    #[test]
    fn the_document_is_at_the_header_s_url_at_the_path_form_and_at_the_root_form() {
        for (resource, local, url, places) in [
            (
                "https://mcp.example.com/team/mcp",
                "/mcp",
                "https://mcp.example.com/.well-known/oauth-protected-resource/team/mcp",
                &["", "/team/mcp", "/mcp", "/mcp/"][..],
            ),
            (
                "https://MCP.example.com:8443",
                "/",
                "https://mcp.example.com:8443/.well-known/oauth-protected-resource",
                &["", "/"],
            ),
            (
                "https://mcp.example.com/mcp/",
                "/mcp",
                "https://mcp.example.com/.well-known/oauth-protected-resource/mcp",
                &["", "/mcp"],
            ),
        ] {
            let metadata = Metadata::new(&oauth(resource), local, false).unwrap();
            assert_eq!(metadata.url(), url);
            for place in places {
                let document = metadata.at(&format!("{WELL_KNOWN}{place}")).expect(place);
                let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
                assert_eq!(document["resource"], resource);
                assert_eq!(document["authorization_servers"][0], "https://i.example");
                assert_eq!(document["scopes_supported"], json!(["read"]));
                assert_eq!(document["bearer_methods_supported"], json!(["header"]));
            }
            for elsewhere in ["/mcp", "/.well-known", "/.well-known/oauth-protected-resource/other"] {
                assert_eq!(metadata.at(elsewhere), None, "{elsewhere}");
            }
        }
    }

    #[test]
    fn what_is_no_url_of_an_endpoint_is_refused() {
        for resource in [
            "mcp.example.com",
            "/mcp",
            "ftp://a.example/mcp",
            "https://a.example/mcp?x=1",
            "https://a.example/mcp#f",
            "https://user@a.example/mcp",
            "",
        ] {
            assert!(Metadata::new(&oauth(resource), "/mcp", false).is_err(), "{resource}");
        }
    }

    #[test]
    fn identifiers_are_equal_up_to_the_case_of_the_host_and_a_last_slash() {
        assert_eq!(canonical("HTTPS://A.example/Mcp/"), "https://a.example/Mcp");
        assert_eq!(canonical("https://a.example"), canonical("https://a.example/"));
        assert_ne!(canonical("https://a.example/mcp"), canonical("https://a.example/MCP"));
        assert_ne!(canonical("https://a.example/mcp"), canonical("https://a.example/mcp/x"));
        assert_eq!(canonical("api://A/"), "api://A/");
    }
}
