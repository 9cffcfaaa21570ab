use super::*;
use pretty_assertions::assert_eq;
use proptest::prelude::*;

/// Events' data and the bytes of all pieces, for a stream that comes in the given parts.
fn split(parts: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut splitter = Splitter::new(1 << 20);
    let (mut data, mut all) = (vec![], vec![]);
    for part in parts {
        for piece in splitter.push(part).unwrap() {
            match piece {
                Piece::Filler(bytes) => all.extend_from_slice(&bytes),
                Piece::Event(event) => {
                    all.extend_from_slice(event.bytes());
                    data.extend(event.data().map(Cow::into_owned));
                }
            }
        }
    }
    if let Some(event) = splitter.finish() {
        all.extend_from_slice(event.bytes());
    }
    (data, all)
}

fn data_of_stream(stream: &str) -> Vec<String> {
    let (data, all) = split(&[stream.as_bytes()]);
    assert_eq!(all, stream.as_bytes());
    data.into_iter().map(|data| String::from_utf8(data).unwrap()).collect()
}

#[test]
fn events_end_at_blank_lines_whatever_ends_a_line() {
    for stream in [
        "data: a\n\ndata: b\n\n",
        "data: a\r\n\r\ndata: b\r\n\r\n",
        "data: a\r\rdata: b\r\r",
        "data: a\n\r\ndata: b\r\n\n",
        ": hello\n\nid: 1\nevent: message\ndata: a\nretry: 3\n\n: x\ndata:b\n\n",
    ] {
        assert_eq!(data_of_stream(stream), ["a", "b"], "{stream:?}");
    }
}

#[test]
fn data_lines_are_joined_and_lose_one_blank() {
    assert_eq!(data_of_stream("data:  {\ndata\ndata:}\n\n"), [" {\n\n}"]);
}

#[test]
fn only_data_is_data() {
    let none: [&str; 0] = [];
    assert_eq!(
        data_of_stream("Data: a\ndatas: b\n data: c\n:data: d\nevent: data\n\n"),
        none
    );
}

#[test]
fn a_byte_order_mark_hides_no_data() {
    assert_eq!(data_of_stream("\u{feff}data: a\n\n"), ["a"]);
}

#[test]
fn a_comment_does_not_wait_for_the_next_event() {
    for comment in [": ping\n", ": ping\r\n", ": ping\n\n", ":\r"] {
        let mut splitter = Splitter::new(100);
        let pieces = splitter.push(comment.as_bytes()).unwrap();
        assert!(
            pieces.iter().all(|piece| matches!(piece, Piece::Filler(_))),
            "{pieces:?}"
        );
        assert_eq!(splitter.held(), 0, "{comment:?}");
    }
}

#[test]
fn an_event_does_not_wait_for_the_line_feed_that_may_follow_its_end() {
    let mut splitter = Splitter::new(100);
    let pieces = splitter.push(b"data: a\r\n\r").unwrap();
    assert!(matches!(&pieces[..], [Piece::Event(event)] if event.bytes() == "data: a\r\n\r"));
    let pieces = splitter.push(b"\ndata: b\r\n\r\n").unwrap();
    assert!(matches!(&pieces[..], [Piece::Filler(_), Piece::Event(event)] if event.bytes() == "data: b\r\n\r\n"));
}

#[test]
fn an_event_over_the_limit_ends_the_stream_however_it_comes() {
    let event = format!("data: {}\n\n", "a".repeat(100));
    let mut splitter = Splitter::new(100);
    assert_eq!(splitter.push(event.as_bytes()), Err(EventTooLarge { limit: 100 }));
    let mut splitter = Splitter::new(100);
    let result: Result<Vec<_>, _> = event.as_bytes().chunks(7).map(|part| splitter.push(part)).collect();
    assert_eq!(result, Err(EventTooLarge { limit: 100 }));
    let mut splitter = Splitter::new(event.len());
    assert_eq!(splitter.push(event.as_bytes()).unwrap().len(), 1);
}

#[test]
fn many_small_events_at_once_are_no_large_one() {
    let stream = "data: a\n\n".repeat(1000);
    assert_eq!(Splitter::new(32).push(stream.as_bytes()).unwrap().len(), 1000);
}

#[test]
fn other_data_leaves_the_other_fields() {
    let mut splitter = Splitter::new(100);
    let pieces = splitter
        .push(b"id: 7\r\n: note\r\nevent: message\r\ndata: {\r\ndata: }\r\n\r\n")
        .unwrap();
    let Piece::Event(event) = &pieces[0] else { panic!() };
    assert_eq!(event.with_data(b"[]"), "id: 7\n: note\nevent: message\ndata: []\n\n");
}

#[test]
fn what_the_stream_breaks_off_in_is_left_at_its_end() {
    let mut splitter = Splitter::new(100);
    assert_eq!(splitter.push(b"data: a\n").unwrap(), []);
    assert_eq!(splitter.finish().unwrap().data().unwrap(), b"a".as_slice());
    assert_eq!(splitter.finish(), None);
}

proptest! {
    #[test]
    fn the_pieces_are_the_stream_and_its_parts_do_not_matter(
        stream in "(data: [ab]{0,3}|:|: c|id: 1|x|\r|\n|\r\n|\n\n|\r\n\r\n){0,24}",
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes = stream.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut parts = vec![];
        let mut from = 0;
        for cut in cuts {
            parts.push(&bytes[from..cut]);
            from = cut;
        }
        parts.push(&bytes[from..]);
        let (whole_data, whole) = split(&[bytes]);
        let (parts_data, all) = split(&parts);
        prop_assert_eq!(&whole, bytes);
        prop_assert_eq!(&all, bytes);
        prop_assert_eq!(whole_data, parts_data);
    }

    #[test]
    fn any_bytes_come_out_as_they_went_in(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let (_, all) = split(&parts);
        prop_assert_eq!(all, parts.concat());
    }
}

#[test]
fn what_is_left_after_a_large_event_does_not_keep_its_memory() {
    const LARGE: usize = 1 << 20;
    let mut splitter = Splitter::new(2 * LARGE);
    let event = [b"data: ".to_vec(), vec![b'x'; LARGE], b"\n\ndata: b".to_vec()].concat();
    drop(splitter.push(&event).unwrap());
    assert_eq!(splitter.held(), 7);
    assert!(
        !splitter.buffer.try_reclaim(LARGE / 2),
        "there is room for more than is held"
    );
    assert_eq!(
        splitter.push(b"\n\n").unwrap(),
        [Piece::Event(Event("data: b\n\n".into()))]
    );
}
