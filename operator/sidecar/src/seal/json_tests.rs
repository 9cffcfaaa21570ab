use super::*;
use pretty_assertions::assert_eq;
use proptest::prelude::*;

const MESSAGE: &str = " {\"id\" : 7,\n\"params\":{ \"a\" : \"x\\\"{\" , \"taskId\":\"t-1\",\"list\":[ \"p\" ,[1,{}], -2.5e3 ]} ,\"z\":null}\r\n";

#[test]
fn every_value_is_found_where_it_is() {
    let root = Document::read(MESSAGE.as_bytes()).unwrap().root();
    assert_eq!(root.at(&["params", "a"]).unwrap().unwrap().raw(), r#""x\"{""#);
    assert_eq!(
        root.at(&["params", "a"]).unwrap().unwrap().string().unwrap().unwrap(),
        "x\"{"
    );
    let list = root.at(&["params", "list"]).unwrap().unwrap();
    let raws: Vec<&str> = list.elements().map(|element| element.raw()).collect();
    assert_eq!(raws, ["\"p\"", "[1,{}]", "-2.5e3"]);
    assert_eq!(root.get("z").unwrap().unwrap().raw(), "null");
    assert!(root.at(&["params", "list", "p"]).unwrap().is_none());
    assert!(root.get("Id").unwrap().is_none());
}

#[test]
fn replacing_a_string_changes_that_string_and_nothing_else() {
    let document = Document::read(MESSAGE.as_bytes()).unwrap();
    let task = document.root().at(&["params", "taskId"]).unwrap().unwrap();
    let mut edits = Edits::default();
    edits.replace_string(&task, "a \"quoted\" é").unwrap();
    let edited = edits.apply(MESSAGE);
    let span = task.span();
    assert_eq!(&edited[..span.start], &MESSAGE[..span.start]);
    assert_eq!(
        &edited[edited.len() - (MESSAGE.len() - span.end)..],
        &MESSAGE[span.end..]
    );
    let value: serde_json::Value = serde_json::from_str(&edited).unwrap();
    assert_eq!(value["params"]["taskId"], "a \"quoted\" é");
}

#[test]
fn only_strings_are_replaced() {
    let root = Document::read(MESSAGE.as_bytes()).unwrap().root();
    let id = root.get("id").unwrap().unwrap();
    Edits::default().replace_string(&id, "x").unwrap_err();
}

#[test]
fn members_go_with_one_comma_each_wherever_they_are() {
    for (text, keys, expected) in [
        (r#"{"a":1}"#, &["a"][..], "{}"),
        (r#"{ "a" : 1 }"#, &["a"], "{  }"),
        (r#"{"a":1,"b":2}"#, &["a"], r#"{"b":2}"#),
        (r#"{"a":1,"b":2}"#, &["b"], r#"{"a":1}"#),
        (r#"{"a":1, "b":2 ,"c":3}"#, &["b"], r#"{"a":1 ,"c":3}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["a", "b"], r#"{"c":3}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["a", "c"], r#"{"b":2}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["b", "c"], r#"{"a":1}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["a", "b", "c"], "{}"),
        (r#"{"a":{"b":[1,2]},"b":"},{"}"#, &["b"], r#"{"a":{"b":[1,2]}}"#),
        (r#"{"\u0061":1,"b":2}"#, &["a"], r#"{"b":2}"#),
        (r#"{"a":1}"#, &["x"], r#"{"a":1}"#),
    ] {
        let mut edits = Edits::default();
        edits
            .remove_members(&Document::read(text.as_bytes()).unwrap().root(), keys)
            .unwrap();
        assert_eq!(edits.apply(text), expected, "{text} {keys:?}");
    }
}

#[test]
fn a_member_is_added_to_full_and_empty_objects() {
    for (text, expected) in [
        ("{}", r#"{"k":"v"}"#),
        ("{ }", r#"{"k":"v" }"#),
        (r#"{"a":1}"#, r#"{"k":"v","a":1}"#),
    ] {
        let mut edits = Edits::default();
        edits
            .add_string(&Document::read(text.as_bytes()).unwrap().root(), "k", "v")
            .unwrap();
        assert_eq!(edits.apply(text), expected);
    }
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    let root = Document::read(br#"{"a":1,"\u0061":2}"#).unwrap().root();
    assert!(matches!(root.get("a"), Err(JsonError::DuplicateKey(_))));
    assert!(matches!(root.get("b"), Err(JsonError::DuplicateKey(_))));
}

fn any_object() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map("[a-e]", value, 0..6)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn what_is_read_is_what_another_parser_reads(object in any_object(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&object).unwrap() } else { object.to_string() };
        let root = Document::read(text.as_bytes()).unwrap().root();
        let members = root.members().unwrap();
        prop_assert_eq!(members.len(), object.as_object().unwrap().len());
        for member in members {
            let value: serde_json::Value = serde_json::from_str(member.value.raw()).unwrap();
            let reread: serde_json::Value = serde_json::from_str(&object[member.key.as_ref()].to_string()).unwrap();
            prop_assert_eq!(value, reread);
        }
    }

    #[test]
    fn removal_leaves_exactly_the_other_members(object in any_object(), pretty in any::<bool>(), goes in "[a-e]{0,3}") {
        let text = if pretty { serde_json::to_string_pretty(&object).unwrap() } else { object.to_string() };
        let keys: Vec<String> = goes.chars().map(String::from).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut edits = Edits::default();
        edits.remove_members(&Document::read(text.as_bytes()).unwrap().root(), &keys).unwrap();
        let left: serde_json::Value = serde_json::from_str(&edits.apply(&text)).unwrap();
        let mut expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        for key in keys {
            expected.as_object_mut().unwrap().remove(key);
        }
        prop_assert_eq!(left, expected);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(document) = Document::read(&bytes) {
            let _ = document.root().members();
            let _ = document.root().elements().count();
        }
    }
}
