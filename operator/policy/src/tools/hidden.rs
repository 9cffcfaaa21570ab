//! Text that a model reads and a human does not see.

use serde_json::Value;

/// The first character of `text` that cannot be seen, or that changes how others are shown, outside the few uses in which
/// languages and emoji need it.
///
/// Refused: controls other than tab and line ends; format characters (general category Cf) such as soft hyphens,
/// zero-width characters, bidirectional overrides and isolates, and tags; fillers that show as nothing; variation
/// selectors; private use; noncharacters. Let through: one variation selector 15 or 16 after a character that has an
/// emoji form; a zero-width joiner between two emoji, and a joiner or non-joiner between two letters of scripts that
/// need it (Arabic to Sinhala).
pub(crate) fn find(text: &str) -> Option<char> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    let mut before: Option<char> = None;
    // What came before a variation selector 15 or 16.
    let mut shown: Option<char> = None;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let after = rest.peek().copied();
        let allowed = match character {
            '\u{fe0e}' | '\u{fe0f}' => before.is_some_and(has_emoji_form),
            '\u{200d}' => (shown.is_some_and(is_emoji) && after.is_some_and(is_emoji)) || joins(before, after),
            '\u{200c}' => joins(before, after),
            other => !is_hidden(other),
        };
        if !allowed {
            return Some(character);
        }
        if !matches!(character, '\u{fe0e}' | '\u{fe0f}') {
            shown = Some(character);
        }
        before = Some(character);
    }
    None
}

/// The same for every string and every key in `value`.
pub(crate) fn find_within(value: &Value) -> Option<char> {
    match value {
        Value::String(text) => find(text),
        Value::Array(items) => items.iter().find_map(find_within),
        Value::Object(members) => members
            .iter()
            .find_map(|(key, value)| find(key).or_else(|| find_within(value))),
        _ => None,
    }
}

/// Unicode 17: categories Cc (but tab and line ends), Cf, Co, noncharacters, variation selectors, and the characters of
/// other categories that have no glyph (`Default_Ignorable_Code_Point`).
const fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
        | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{10ffff}'
    ) || (character as u32) & 0xfffe == 0xfffe
}

/// Whether a variation selector after `character` chooses between text and emoji: the base is `#`, `*`, a digit, or in
/// the blocks that hold emoji.
const fn has_emoji_form(character: char) -> bool {
    matches!(character, '#' | '*' | '0'..='9' | '\u{a9}' | '\u{ae}') || is_emoji(character)
}

/// Whether `character` is in the blocks that hold emoji, their modifiers included.
const fn is_emoji(character: char) -> bool {
    matches!(character, '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{27bf}'
        | '\u{2934}' | '\u{2935}' | '\u{2b00}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

/// Whether a joiner or non-joiner between the two changes how they are written, in scripts where that matters.
fn joins(before: Option<char>, after: Option<char>) -> bool {
    let letter = |character: Option<char>| {
        character.is_some_and(|letter| matches!(letter, '\u{620}'..='\u{dff}') && !is_hidden(letter))
    };
    letter(before) && letter(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_that_nobody_sees_is_found() {
        for (text, found) in [
            ("a\u{200b}b", '\u{200b}'),
            ("a\u{feff}", '\u{feff}'),
            ("soft\u{ad}hyphen", '\u{ad}'),
            ("\u{202e}gnp.exe", '\u{202e}'),
            ("\u{2066}x\u{2069}", '\u{2066}'),
            ("ignore\u{e0069}\u{e0067}", '\u{e0069}'),
            ("\u{e0001}", '\u{e0001}'),
            ("\u{3164}", '\u{3164}'),
            ("\u{115f}", '\u{115f}'),
            ("\u{2800}", '\u{2800}'),
            ("a\u{fe0f}", '\u{fe0f}'),
            ("\u{26a0}\u{fe0f}\u{fe0f}", '\u{fe0f}'),
            ("\u{26a0}\u{fe01}", '\u{fe01}'),
            ("x\u{e0101}\u{e0102}", '\u{e0101}'),
            ("a\u{200d}b", '\u{200d}'),
            ("\u{200d}", '\u{200d}'),
            ("\u{1f468}\u{200d}", '\u{200d}'),
            ("\u{1f468}\u{200d}\u{200d}\u{1f4bb}", '\u{200d}'),
            ("a\u{200c}b", '\u{200c}'),
            ("\u{e000}", '\u{e000}'),
            ("\u{1b}[8mhidden", '\u{1b}'),
            ("a\u{7f}", '\u{7f}'),
            ("\0", '\0'),
            ("a\u{2028}b", '\u{2028}'),
            ("\u{1fffe}", '\u{1fffe}'),
            ("\u{1d173}", '\u{1d173}'),
            ("\u{180e}", '\u{180e}'),
            ("\u{34f}", '\u{34f}'),
        ] {
            assert_eq!(find(text), Some(found), "{text:?}");
        }
    }

    #[test]
    fn text_that_is_seen_passes() {
        for text in [
            "",
            "Reads a file.\n\tOne per line.\r\n",
            "Liest Dateien. Größe in µm, 10 €",
            "ファイルを読む",
            "\u{26a0}\u{fe0f} careful",
            "1\u{fe0f}\u{20e3} first",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "\u{1f468}\u{1f3fd}\u{200d}\u{1f4bb}",
            "\u{a9}\u{fe0f}",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "\u{915}\u{94d}\u{200d}\u{937}",
            "e\u{301}",
        ] {
            assert_eq!(find(text), None, "{text:?}");
        }
    }

    #[test]
    fn keys_and_items_are_searched_too() {
        for value in [
            serde_json::json!({"a": [{"b\u{200b}": 1}]}),
            serde_json::json!([["\u{200b}"]]),
        ] {
            assert_eq!(find_within(&value), Some('\u{200b}'));
        }
    }

    proptest! {
        #[test]
        fn tags_are_found_wherever_they_stand(before in "\\PC{0,8}", tag in 0xe0000u32..0xe0080, after in "\\PC{0,8}") {
            let tag = char::from_u32(tag).unwrap();
            let text = format!("{before}{tag}{after}");
            prop_assert!(find(&text).is_some());
        }
    }
}
