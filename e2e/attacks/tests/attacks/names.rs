//! Names that look like another.

use crate::stage::{FORBIDDEN, Stage, none_of};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sallyport_attacks::{Beliefs, Era, Message, Post};
use serde_json::json;

/// Each is taken for [`FORBIDDEN`] by a server that cleans names up.
const LOOKALIKES: [&str; 12] = [
    "DELETE_NOTE",
    "Delete_Note",
    " delete_note",
    "delete_note ",
    "delete_note\n",
    "delete_note\0",
    "delete_\u{200b}note",
    "delete_note\u{e0041}",
    "\u{202e}delete_note",
    "\u{ff44}elete_note",
    "d\u{435}lete_note",
    "delete_n\u{43e}te",
];

#[tokio::test]
async fn names_are_compared_byte_by_byte() {
    let stage = Stage::of(Beliefs {
        looks: true,
        ..Beliefs::default()
    })
    .await;
    let mut wrong = vec![stage.attack("itself", &legacy(FORBIDDEN)).await];
    for name in LOOKALIKES {
        wrong.push(stage.attack(&format!("{name:?}"), &legacy(name)).await);
        wrong.push(stage.attack(&format!("{name:?}, modern"), &modern(name)).await);
    }
    none_of(wrong);
}

fn legacy(name: &str) -> Vec<u8> {
    Post::of(Era::Legacy, &Message::call(Era::Legacy, name, &json!({}))).bytes()
}

/// With the name in the header as the specification wants it: what is not plain ASCII in base64.
fn modern(name: &str) -> Vec<u8> {
    let post = Post::of(Era::Modern, &Message::call(Era::Modern, name, &json!({})));
    post.replace(
        "Mcp-Name",
        Some(&format!("=?base64?{}?=", BASE64_STANDARD.encode(name))),
    )
    .bytes()
}
