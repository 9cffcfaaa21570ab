//! The credential that the head of a request presents.

use crate::{Reason, Secret};
use http::header::AUTHORIZATION;
use http::request::Parts;

/// Longest credential in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// Names of query parameters that carry credentials; RFC 6750 section 2.3 has the first.
const CREDENTIAL_PARAMETERS: [&str; 6] = [
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "bearer_token",
    "id_token",
];

/// The bearer credential of a request; `None` if it presents none.
///
/// A credential in the query is refused even beside a good one: it has been in logs by now.
pub fn bearer(head: &Parts) -> Result<Option<Secret>, Reason> {
    if head.uri.query().is_some_and(has_credential) {
        return Err(Reason::CredentialInQuery);
    }
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Reason::MalformedAuthorization);
    }
    let text = value.to_str().map_err(|_| Reason::MalformedAuthorization)?;
    let (scheme, credential) = text.split_once(' ').ok_or(Reason::MalformedAuthorization)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Reason::UnsupportedScheme);
    }
    let credential = credential.trim_matches(' ');
    let fits = (1..=MAX_BYTES).contains(&credential.len()) && credential.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits {
        return Err(Reason::MalformedAuthorization);
    }
    Ok(Some(Secret::new(credential)))
}

fn has_credential(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decoded(name).to_ascii_lowercase();
        CREDENTIAL_PARAMETERS.contains(&name.as_str()) || percent_decoded(value).starts_with(crate::keys::PREFIX)
    })
}

/// `text` with `%41` and `+` decoded, as servers read form parameters.
fn percent_decoded(text: &str) -> String {
    let mut bytes = text.as_bytes().iter();
    let mut decoded = vec![];
    while let Some(&byte) = bytes.next() {
        let rest = bytes.as_slice();
        let hex = || u8::from_str_radix(std::str::from_utf8(rest.get(..2)?).ok()?, 16).ok();
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => match hex() {
                Some(value) => {
                    decoded.push(value);
                    bytes.nth(1);
                }
                None => decoded.push(b'%'),
            },
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use pretty_assertions::assert_eq;

    fn head(uri: &str, headers: &[&str]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for value in headers {
            request = request.header(AUTHORIZATION, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(uri: &str, headers: &[&str]) -> Result<Option<String>, Reason> {
        bearer(&head(uri, headers)).map(|found| found.map(|secret| secret.expose().to_owned()))
    }

    #[test]
    fn one_bearer_credential_is_read_whatever_the_case_of_its_scheme() {
        for value in ["Bearer abc", "bearer abc", "BEARER  abc", "Bearer abc "] {
            assert_eq!(read("/mcp", &[value]), Ok(Some("abc".into())), "{value}");
        }
        assert_eq!(read("/mcp?session=1&token_type=x", &[]), Ok(None));
    }

    #[test]
    fn several_or_malformed_headers_are_refused() {
        let long = format!("Bearer {}", "a".repeat(MAX_BYTES + 1));
        for values in [
            &["Bearer a", "Bearer b"][..],
            &["Bearer a", "Bearer a"],
            &["Bearer a", ""],
            &["Bearer"],
            &["Bearer "],
            &[""],
            &["Bearer a b"],
            &["Bearer a, Bearer b"],
            &["Bearer a\tb"],
            &[&long],
        ] {
            assert_eq!(read("/mcp", values), Err(Reason::MalformedAuthorization), "{values:?}");
        }
        for value in ["Basic YTpi", "DPoP abc", "Digest username=\"a\"", "Bearer\tabc d"] {
            assert_eq!(read("/mcp", &[value]), Err(Reason::UnsupportedScheme), "{value}");
        }
    }

    #[test]
    fn a_credential_in_the_query_is_refused_however_it_is_spelt() {
        for query in [
            "access_token=x",
            "a=1&access_token=x",
            "a=1;access_token=x",
            "ACCESS_TOKEN=x",
            "access%5Ftoken=x",
            "%61ccess_token",
            "apikey=x",
            "k=mcpe_a_b",
            "k=%6Dcpe_a_b",
        ] {
            let uri = format!("/mcp?{query}");
            assert_eq!(read(&uri, &["Bearer good"]), Err(Reason::CredentialInQuery), "{query}");
        }
        assert_eq!(read("/mcp?access_token%3Dx&%zz=%4", &[]), Ok(None));
    }
}
