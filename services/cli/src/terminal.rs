//! Escapes untrusted text for a terminal, so that it can't move the cursor, set a title or hide other text.
//!
//! Control characters are written as an escape such as `\u{1b}`. Other characters are not changed.

use std::fmt::Write as _;

/// Escapes text that is shown on one line.
pub(crate) fn line(text: &str) -> String {
    escaped(text, |c| acts(c).then(|| c.escape_default().to_string()))
}

/// Escapes text of several lines: line feeds and tabs are not changed.
pub(crate) fn block(text: &str) -> String {
    let moves = |c| acts(c) && !matches!(c, '\n' | '\t');
    escaped(text, |c| moves(c).then(|| c.escape_default().to_string()))
}

/// JSON with the same content. Control characters can only be in its strings, where JSON has escapes for them.
pub(crate) fn json(value: &serde_json::Value) -> String {
    let unicode = |c: char| {
        let units = c.encode_utf16(&mut [0; 2]).to_vec();
        units.iter().fold(String::new(), |mut text, unit| {
            // Writing to a string does not fail.
            let _ = write!(text, "\\u{unit:04x}");
            text
        })
    };
    escaped(&value.to_string(), |c| acts(c).then(|| unicode(c)))
}

fn escaped(text: &str, escape: impl Fn(char) -> Option<String>) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match escape(c) {
            Some(escape) => shown.push_str(&escape),
            None => shown.push(c),
        }
    }
    shown
}

/// Whether a terminal acts on this character instead of showing it: C0 and C1 controls, line and paragraph separators, and
/// the controls of [bidirectional text](https://www.unicode.org/reports/tr9/), which change the order of other characters.
pub(crate) fn acts(c: char) -> bool {
    let reorders = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Sets a title, clears the screen by a C1 control, and reverses the order of the following characters.
    const HOSTILE: &str = "a\u{1b}]0;title\u{7}\u{9b}2J\r\n\u{202e}gpj.exe\u{2069}\u{7f}";

    #[test]
    fn control_characters_are_escaped() {
        for shown in [line(HOSTILE), json(&json!([HOSTILE, { HOSTILE: 1 }]))] {
            assert!(!shown.chars().any(acts), "{shown:?}");
        }
        assert!(!block(HOSTILE).chars().any(|c| acts(c) && c != '\n'));
        assert!(line(HOSTILE).starts_with("a\\u{1b}]0;title\\u{7}"));
    }

    #[test]
    fn other_characters_are_not_changed() {
        for text in ["{\"key\": \"a b/ü+1.jpg\\\\\"}", "名前 👩‍🔬 u\u{308}", ""] {
            assert_eq!(line(text), text);
        }
        assert_eq!(block("{\n\t1\n}"), "{\n\t1\n}");
    }

    #[test]
    fn escaped_json_has_the_same_content() {
        let value = json!({ HOSTILE: ["\u{9b}", "\n\"\\"] });
        let read: serde_json::Value = serde_json::from_str(&json(&value)).unwrap();
        assert_eq!(read, value);
    }
}
