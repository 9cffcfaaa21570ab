//! What reading arguments takes in memory, by a counting allocator.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic)]

use cap::Cap;
use sallyport_policy::arguments::{Arguments, VALUES_BYTES, Violation};
use sallyport_policy::tools::ArgumentSchema;
use serde_json::json;
use serde_json::value::RawValue;
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Arguments with `count` items that `item` makes, in one array or in one object.
fn text(count: usize, item: impl Fn(usize) -> String, in_array: bool) -> Box<RawValue> {
    let items: Vec<String> = (0..count).map(item).collect();
    let items = items.join(",");
    let text = if in_array {
        format!("{{\"a\":[{items}]}}")
    } else {
        format!("{{{items}}}")
    };
    RawValue::from_string(text).unwrap()
}

/// Arguments as large as they may be, and how much more memory is used while they are there.
fn largest(item: impl Fn(usize) -> String, in_array: bool) -> (Arguments, usize, usize) {
    let mut largest = None;
    let mut count = 4096;
    loop {
        let text = text(count, &item, in_array);
        let before = ALLOCATOR.allocated();
        match Arguments::parse(Some(&text)) {
            Ok(arguments) => {
                let taken = ALLOCATOR.allocated() - before;
                largest = Some((arguments, taken, text.get().len()));
            }
            Err(refused) => {
                assert_eq!(refused, Violation::TooMany);
                assert_eq!(ALLOCATOR.allocated(), before);
                return largest.unwrap();
            }
        }
        count = count * 9 / 8;
    }
}

/// The text of an item, by its number.
type Item = fn(usize) -> String;

// One test: the allocator counts what all of this process take.
#[test]
fn arguments_take_what_is_reckoned_with_and_are_checked_without_a_copy() {
    let shapes: [(&str, Item, bool); 8] = [
        ("numbers", |_| "0".to_owned(), true),
        ("texts", |_| r#""a""#.to_owned(), true),
        ("arrays of one", |_| "[0]".to_owned(), true),
        ("objects of one", |_| r#"{"a":0}"#.to_owned(), true),
        ("objects in objects", |_| r#"{"a":{"b":{"c":0}}}"#.to_owned(), true),
        ("members in order", |number| format!("\"{number:07}\":0"), false),
        (
            "members in reverse",
            |number| format!("\"{:07}\":0", 9_999_999 - number),
            false,
        ),
        (
            "members in no order",
            |number| format!("\"{:010}\":0", number.wrapping_mul(2_654_435_761) % (1 << 32)),
            false,
        ),
    ];
    let schema = ArgumentSchema::compile(&json!({"properties": {"a": {"items": {"type": "string"}}}})).unwrap();
    for (shape, item, in_array) in shapes {
        let (arguments, taken, length) = largest(item, in_array);
        let bound = VALUES_BYTES + length;
        println!("{shape}: {taken} bytes of {bound} for a text of {length}");
        assert!(taken <= bound, "{shape}: {taken} of {bound}");
        // It is no guess in the dark either: a growth by an eighth would have been refused.
        assert!(taken > bound / 4, "{shape}: {taken} of {bound}");
        let before = ALLOCATOR.total_allocated();
        let _ = schema.check(&arguments);
        let copied = ALLOCATOR.total_allocated() - before;
        assert!(copied < taken / 4, "{shape}: {copied} bytes to check {taken}");
    }
}
