//! How far a chain of records had come, as its program tells it: to the operator that asks, and to the kubelet when it ends.

use serde::{Deserialize, Serialize};

/// Longest host name of a pod (RFC 1123 label): the kubelet cuts the names of pods that are longer.
const HOST_NAME: usize = 63;

/// Longest name of a chain: host name, time, random part.
const LONGEST_CHAIN: usize = 128;

/// Longest time, in UTC with milliseconds.
const LONGEST_TIME: usize = 32;

/// Longest termination message that is looked at; the kubelet keeps 4 KiB.
const LONGEST_MESSAGE: usize = 4096;

/// The last record that was written of a chain; what sidecar and gateway answer on `/anchor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnchorReport {
    /// Which chain.
    pub chain: String,
    /// Number of the record; the first is 0.
    pub seq: u64,
    /// Its hash, 64 hexadecimal digits.
    pub hash: String,
    /// When it was written, in UTC with milliseconds.
    pub time: String,
}

/// What a program leaves behind when it ends, however it ends: the termination message of its container.
///
/// Nothing else is one. The kubelet takes the last lines of a log for the message of a container that failed and left none,
/// and no line of a log is a last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LastWord {
    /// How far the program's records came.
    pub anchor: AnchorReport,
}

impl AnchorReport {
    /// Whether this is of the form of an anchor, and of a chain that `pod` can have begun: its name starts with the pod's
    /// host name.
    pub fn is_of_pod(&self, pod: &str) -> bool {
        let host = self.chain.split('/').next().unwrap_or_default();
        // What is cut may end with a dot or a dash, and loses that too.
        let is_cut = pod.len() > HOST_NAME && host.len() <= HOST_NAME && host.len() + 2 >= HOST_NAME;
        let is_host = host == pod || (is_cut && pod.starts_with(host));
        is_host && self.is_well_formed()
    }

    fn is_well_formed(&self) -> bool {
        let plain = |text: &str, longest| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:/".contains(&byte);
            text.len() <= longest && text.bytes().all(is_plain)
        };
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        plain(&self.chain, LONGEST_CHAIN)
            && plain(&self.time, LONGEST_TIME)
            && self.hash.len() == 64
            && self.hash.bytes().all(is_digit)
    }
}

impl LastWord {
    /// Reads a termination message; none if it is anything else.
    pub fn parse(message: &str) -> Option<Self> {
        let message = Some(message).filter(|message| message.len() <= LONGEST_MESSAGE)?;
        serde_json::from_str(message.trim_end()).ok()
    }

    /// The message.
    ///
    /// # Errors
    ///
    /// Never in practice: every field serializes.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn anchor(chain: &str) -> AnchorReport {
        AnchorReport {
            chain: chain.to_owned(),
            seq: 7,
            hash: "a".repeat(64),
            time: "2026-11-28T20:00:00.000Z".to_owned(),
        }
    }

    #[test]
    fn a_last_word_is_read_back_with_blanks_after_it() {
        let word = LastWord {
            anchor: anchor("demo-1/2026-11-28T20:00:00.000Z/b342741d8589bf88"),
        };
        let text = word.to_text().unwrap();
        assert_eq!(LastWord::parse(&format!("{text:512}")), Some(word));
    }

    #[test]
    fn nothing_else_is_a_last_word() {
        let text = LastWord {
            anchor: anchor("demo-1/x"),
        }
        .to_text()
        .unwrap();
        for message in [
            String::new(),
            "this pod is refused what no rule allows".to_owned(),
            r#"{"kind":"audit","chain":{"id":"demo-1/x","seq":7}}"#.to_owned(),
            format!("a line of the log\n{text}"),
            format!("{text}\na line of the log"),
            text.replacen('{', r#"{"more":1,"#, 1),
            text.replace(":7", ":-7"),
            format!("{text:5000}"),
        ] {
            assert_eq!(LastWord::parse(&message), None, "{message}");
        }
    }

    #[test]
    fn a_pod_speaks_of_its_own_chains_alone() {
        let long = "a".repeat(62) + "-7d9c-x2x9z";
        let cut = format!("{}/t/r", &long[..62]);
        let (long, cut) = (long.as_str(), cut.as_str());
        for (chain, pod, is_its_own) in [
            ("demo-1/t/r", "demo-1", true),
            ("demo-1/t/r", "demo-2", false),
            ("demo-1/t/r", "demo-10", false),
            ("demo-10/t/r", "demo-1", false),
            ("/t/r", "demo-1", false),
            (cut, long, true),
            ("a/t/r", long, false),
        ] {
            assert_eq!(anchor(chain).is_of_pod(pod), is_its_own, "{chain} {pod}");
        }
    }

    #[test]
    fn what_is_not_of_its_form_is_of_no_pod() {
        let changed = |change: fn(&mut AnchorReport)| {
            let mut anchor = anchor("demo-1/t/r");
            change(&mut anchor);
            anchor.is_of_pod("demo-1")
        };
        assert!(changed(|_| {}));
        assert!(!changed(|anchor| anchor.chain.push_str("\u{1b}[2J")));
        assert!(!changed(|anchor| anchor.chain.push_str(&"x".repeat(128))));
        assert!(!changed(|anchor| anchor.hash = "A".repeat(64)));
        assert!(!changed(|anchor| anchor.hash.push('a')));
        assert!(!changed(|anchor| anchor.time.push('\n')));
        assert!(!changed(|anchor| anchor.time = "9".repeat(33)));
    }
}
