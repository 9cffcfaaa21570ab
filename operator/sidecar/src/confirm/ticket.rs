//! What a question or its answer is worth: one run of one call.

use super::home::{Instance, Nonce};
use crate::seal::CallDigest;
use std::net::SocketAddr;

/// One run of one call. Whose it is, is not in it: the envelope around it opens for its owner only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which life of which replica remembers whether it is used up.
    pub instance: Instance,
    /// Where that replica is asked. `None` where replicas do not ask each other.
    pub home: Option<SocketAddr>,
    /// Sets it apart from all others of its home.
    pub nonce: Nonce,
    /// When it ends: milliseconds in the life of its home, whose clock alone counts.
    pub deadline: u64,
    /// The call.
    pub call: CallDigest,
    /// The legacy session in which it was asked, where that matters.
    pub session: [u8; 32],
}

impl Ticket {
    /// As bytes, to be sealed. At most 200.
    pub fn to_bytes(&self) -> Vec<u8> {
        let home = self.home.map(|home| home.to_string()).unwrap_or_default();
        [
            self.instance.0.as_slice(),
            &self.nonce.0,
            &self.deadline.to_be_bytes(),
            self.call.as_bytes(),
            &self.session,
            home.as_bytes(),
        ]
        .concat()
    }

    /// What [`Ticket::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (instance, rest) = bytes.split_first_chunk::<16>()?;
        let (nonce, rest) = rest.split_first_chunk::<16>()?;
        let (deadline, rest) = rest.split_first_chunk::<8>()?;
        let (call, rest) = rest.split_first_chunk::<32>()?;
        let (session, home) = rest.split_first_chunk::<32>()?;
        let home = match std::str::from_utf8(home).ok()? {
            "" => None,
            home => Some(home.parse().ok()?),
        };
        Some(Self {
            instance: Instance(*instance),
            home,
            nonce: Nonce(*nonce),
            deadline: u64::from_be_bytes(*deadline),
            call: (*call).into(),
            session: *session,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn what_is_written_is_what_is_read_and_stays_short() {
        for home in [
            None,
            Some("10.1.2.3:15081"),
            Some("[fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:1]:15081"),
        ] {
            let ticket = Ticket {
                instance: Instance([1; 16]),
                home: home.map(|home| home.parse().unwrap()),
                nonce: Nonce([2; 16]),
                deadline: u64::MAX - 7,
                call: [3; 32].into(),
                session: [4; 32],
            };
            let bytes = ticket.to_bytes();
            assert!(bytes.len() <= 200);
            assert_eq!(Ticket::from_bytes(&bytes).unwrap(), ticket);
            assert_eq!(Ticket::from_bytes(&bytes[..100]), None);
        }
    }
}
