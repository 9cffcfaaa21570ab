//! The certificates that the server trusts, as files.

use pem::{EncodeConfig, LineEnding, Pem};
use sallyport_policy::signer::{BUNDLE_FILE, OWN_FILE};
use std::io;
use std::path::{Path, PathBuf};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// What the files begin with. The roots' licence asks that it goes with them.
const ORIGIN: &str = "\
# The authority of this pod, constrained to the hosts for which its egress gateway injects credentials.
";
const BUNDLE_ORIGIN: &str = "\
# The authority of this pod, constrained to the hosts for which its egress gateway injects credentials, and the public
# authorities that Mozilla trusts, under CDLA-Permissive-2.0: https://cdla.dev/permissive-2-0/
";

/// A file of trusted certificates cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the certificates that the server trusts to {path}")]
pub struct TrustError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Writes both files into `directory`: `own`, a certificate in DER, and the same with all public roots.
///
/// # Errors
///
/// When they cannot be written.
pub fn write(directory: &Path, own: &[u8]) -> Result<(), TrustError> {
    let own = encode(own);
    let roots = TLS_SERVER_ROOT_CERTS.iter().map(|root| encode(root));
    let bundle: String = std::iter::once(own.clone()).chain(roots).collect();
    for (name, text) in [
        (OWN_FILE, format!("{ORIGIN}{own}")),
        (BUNDLE_FILE, format!("{BUNDLE_ORIGIN}{bundle}")),
    ] {
        let path = directory.join(name);
        // Never seen half written: a sidecar that is started again writes while the server runs.
        let unfinished = path.with_extension("new");
        let written = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, &path));
        written.map_err(|source| TrustError { path, source })?;
    }
    Ok(())
}

fn encode(certificate: &[u8]) -> String {
    let pem = Pem::new("CERTIFICATE", certificate);
    pem::encode_config(&pem, EncodeConfig::new().set_line_ending(LineEnding::LF))
}
