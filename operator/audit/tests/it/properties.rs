//! No change of a single bit goes unseen.

use crate::tampering::chain;
use proptest::prelude::*;
use sallyport_audit::verify::{Leniency, verify};

#[test]
fn every_single_bit_of_a_log_counts() {
    let (lines, _) = chain("a", 4);
    let log = (lines.join("\n") + "\n").into_bytes();
    assert!(verify(&log, &[], Leniency::default()).is_whole());
    for index in 0..log.len() {
        for bit in 0..8 {
            let mut changed = log.clone();
            changed[index] ^= 1 << bit;
            let report = verify(&changed, &[], Leniency::default());
            assert!(
                !report.is_whole(),
                "bit {bit} of byte {index}: {}",
                String::from_utf8_lossy(&changed)
            );
        }
    }
}

proptest! {
    #[test]
    fn a_single_bit_of_a_longer_log_between_other_lines_counts(position in any::<prop::sample::Index>(), bit in 0..8) {
        let (lines, anchors) = chain("pod-of-a-longer-name", 40);
        let prefix = b"{\"level\":\"info\"}\n".to_vec();
        let records = (lines.join("\n") + "\n").into_bytes();
        let index = prefix.len() + position.index(records.len());
        let mut log = prefix;
        log.extend(records);
        log.extend(b"another program's line\n");
        prop_assert!(verify(&log, &anchors, Leniency::default()).is_whole());
        log[index] ^= 1_u8 << bit;
        prop_assert!(!verify(&log, &[], Leniency::default()).is_whole());
    }

    #[test]
    fn any_subset_without_the_whole_is_found(kept in prop::collection::vec(any::<bool>(), 12)) {
        let (lines, anchors) = chain("a", 12);
        let left: Vec<_> = lines.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(line, _)| line.clone()).collect();
        let report = verify(left.join("\n").as_bytes(), &anchors[11..], Leniency::default());
        prop_assert_eq!(report.is_whole(), left.len() == lines.len());
    }
}
