//! The end of the chain where it outlives the program: the file whose content the kubelet puts into the pod's status when a
//! container ends (`terminationMessagePath`, Kubernetes "Determine the Reason for Pod Failure").

use crate::chain::Anchor;
use sallyport_policy::{AnchorReport, LastWord};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Every text is as long, so that each overwrites the one before whole: a program that is killed leaves one of them, and
/// never a part or nothing.
const LENGTH: usize = 512;

/// The file, which is there already: outside of a container there is none.
pub(super) struct LastWordFile {
    file: File,
    fails: bool,
}

impl LastWordFile {
    /// Opens the file at `path`, if there is one.
    pub fn open(path: &Path) -> Option<Self> {
        match OpenOptions::new().write(true).open(path) {
            Ok(file) => Some(Self { file, fails: false }),
            Err(error) => {
                let path = path.display();
                tracing::warn!(%error, %path, "the end of the records is not kept where the kubelet looks");
                None
            }
        }
    }

    /// Replaces what the file says. Failures hinder nobody, since the operator asks for the end besides; the first of
    /// several is logged.
    pub fn write(&mut self, anchor: &Anchor) {
        let written = self.replace(anchor);
        if let Err(error) = &written
            && !self.fails
        {
            tracing::warn!(%error, "the end of the records is not kept where the kubelet looks");
        }
        self.fails = written.is_err();
    }

    fn replace(&self, anchor: &Anchor) -> io::Result<()> {
        let anchor = AnchorReport {
            chain: anchor.chain.to_string(),
            seq: anchor.seq,
            hash: anchor.hash.clone(),
            time: format!("{:.3}", anchor.time),
        };
        let text = LastWord { anchor }.to_text()?;
        self.file.write_all_at(format!("{text:LENGTH$}").as_bytes(), 0)
    }
}
