//! Any bytes as an event stream, in any parts: the pieces are the stream, and its parts do not matter.

#![no_main]

use sallyport_sidecar::wire::sse::{Piece, Splitter};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // The first bytes say where the stream is cut.
    let (cuts, stream) = input.split_at(input.len().min(8));
    let whole = split(&[stream]);
    let mut parts = vec![];
    let mut rest = stream;
    for cut in cuts {
        let (part, later) = rest.split_at(usize::from(cut % 32).min(rest.len()));
        parts.push(part);
        rest = later;
    }
    parts.push(rest);
    assert_eq!(whole, split(&parts));
    assert_eq!(whole.0, stream);
});

fn split(parts: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut splitter = Splitter::new(1 << 20);
    let (mut all, mut data) = (vec![], vec![]);
    for part in parts {
        for piece in splitter.push(part).expect("small enough") {
            match piece {
                Piece::Filler(bytes) => all.extend_from_slice(&bytes),
                Piece::Event(event) => {
                    all.extend_from_slice(event.bytes());
                    data.extend(event.data().map(|data| data.into_owned()));
                }
            }
        }
    }
    if let Some(event) = splitter.finish() {
        all.extend_from_slice(event.bytes());
        data.extend(event.data().map(|data| data.into_owned()));
    }
    (all, data)
}
