//! Who a client certificate says that its caller is.

use crate::clock::Now;
use crate::{PeerCertificate, Reason};
use sallyport_policy::{Principal, PrincipalKind};
use serde_json::json;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Names of a certificate, in the order in which they stand.
#[derive(Debug, Default)]
struct Names {
    uris: Vec<String>,
    dns: Vec<String>,
    emails: Vec<String>,
}

/// The caller with this certificate: its alternative name, a URI before a DNS name before an e-mail address. The common name
/// means nothing.
///
/// # Errors
///
/// [`Reason::UnusableCertificate`] when the certificate does not hold any more, or its name is missing or ambiguous.
pub fn principal(peer: &PeerCertificate, now: Now) -> Result<Principal, Reason> {
    if !peer.is_trusted() {
        return Err(Reason::UnusableCertificate);
    }
    let certificate = Certificate::from_der(peer.der()).map_err(|_| Reason::UnusableCertificate)?;
    let certificate = certificate.tbs_certificate();
    let validity = certificate.validity();
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    let end = seconds(validity.not_after);
    // The handshake looked at this, but connections live long.
    if now.0 < seconds(validity.not_before) || now.0 > end {
        return Err(Reason::UnusableCertificate);
    }
    let (_, SubjectAltName(alternatives)) = certificate
        .get_extension::<SubjectAltName>()
        .map_err(|_| Reason::UnusableCertificate)?
        .ok_or(Reason::UnusableCertificate)?;
    let names = Names::of(&alternatives);
    Ok(Principal {
        kind: PrincipalKind::Certificate,
        issuer: Some(certificate.issuer().to_string()),
        subject: Some(names.subject().ok_or(Reason::UnusableCertificate)?.to_owned()),
        claims: [(
            "san".to_owned(),
            json!({"uri": names.uris, "dns": names.dns, "email": names.emails}),
        )]
        .into(),
        expires: Some(end),
        credential: Some(crate::hex(&peer.thumbprint())),
        ..Principal::anonymous()
    })
}

impl Names {
    fn of(alternatives: &[GeneralName]) -> Self {
        let mut names = Self::default();
        for name in alternatives {
            match name {
                GeneralName::UniformResourceIdentifier(uri) => names.uris.push(uri.to_string()),
                GeneralName::DnsName(host) => names.dns.push(host.as_str().to_ascii_lowercase()),
                GeneralName::Rfc822Name(email) => names.emails.push(email.to_string()),
                _ => {}
            }
        }
        names
    }

    /// The one name that counts. The kinds cannot be taken for each other: only URIs have a scheme, only addresses an `@`.
    fn subject(&self) -> Option<&str> {
        let visible = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        let name = match (self.uris.as_slice(), self.dns.as_slice(), self.emails.as_slice()) {
            ([uri], _, _) => Some(uri).filter(|uri| uri.contains(':')),
            ([], [host, ..], _) => Some(host).filter(|host| !host.contains([':', '@', '/', '*'])),
            ([], [], [email, ..]) => Some(email).filter(|email| email.contains('@') && !email.contains(':')),
            // X.509-SVID section 2: a SPIFFE certificate has one URI. Of several, nobody knows which one counts.
            ([_, _, ..], _, _) | ([], [], []) => None,
        };
        name.map(String::as_str).filter(|name| visible(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn names(uris: &[&str], dns: &[&str], emails: &[&str]) -> Names {
        let owned = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        Names {
            uris: owned(uris),
            dns: owned(dns),
            emails: owned(emails),
        }
    }

    #[test]
    fn a_uri_counts_before_a_host_before_an_address() {
        let spiffe = "spiffe://a.example/agent";
        assert_eq!(
            names(&[spiffe], &["h.example"], &["a@b.example"]).subject(),
            Some(spiffe)
        );
        assert_eq!(
            names(&[], &["h.example", "i.example"], &["a@b.example"]).subject(),
            Some("h.example")
        );
        assert_eq!(names(&[], &[], &["a@b.example"]).subject(), Some("a@b.example"));
    }

    #[test]
    fn a_name_that_is_ambiguous_or_looks_like_another_kind_is_none() {
        for names in [
            names(&["spiffe://a/1", "spiffe://a/2"], &["h.example"], &[]),
            names(&["h.example"], &[], &[]),
            names(&[], &["spiffe://a.example/agent"], &[]),
            names(&[], &["a@b.example"], &[]),
            names(&[], &["*.example"], &[]),
            names(&[], &[], &["h.example"]),
            names(&[], &[], &["spiffe://x@y"]),
            names(&[], &["a b"], &[]),
            names(&[], &[], &[]),
        ] {
            assert_eq!(names.subject(), None, "{names:?}");
        }
    }
}
