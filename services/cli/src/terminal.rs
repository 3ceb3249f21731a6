//! Strangers' text as it may be shown on a terminal: nothing in it moves the cursor, sets a title or hides what stands
//! beside it.
//!
//! What a terminal acts upon is written as an escape, such as `\u{1b}`; all else stays as it is.

use std::fmt::Write as _;

/// Text on one line.
pub fn line(text: &str) -> String {
    escaped(text, |c| acts(c).then(|| c.escape_default().to_string()))
}

/// Text of several lines: line feeds and tabs stay.
pub fn block(text: &str) -> String {
    let moves = |c| acts(c) && !matches!(c, '\n' | '\t');
    escaped(text, |c| moves(c).then(|| c.escape_default().to_string()))
}

/// JSON of the same meaning. What acts upon a terminal stands within its strings only, where it has an escape.
pub fn json(value: &serde_json::Value) -> String {
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

/// Whether a terminal does something at this character, or shows others in another order: C0 and C1 controls, line and
/// paragraph separators, and the controls of [bidirectional text](https://www.unicode.org/reports/tr9/).
pub fn acts(c: char) -> bool {
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

    /// Sets a title, clears the screen by a C1 control, and turns the order of what follows.
    const HOSTILE: &str = "a\u{1b}]0;title\u{7}\u{9b}2J\r\n\u{202e}gpj.exe\u{2069}\u{7f}";

    #[test]
    fn nothing_is_left_that_a_terminal_acts_upon() {
        for shown in [line(HOSTILE), json(&json!([HOSTILE, { HOSTILE: 1 }]))] {
            assert!(!shown.chars().any(acts), "{shown:?}");
        }
        assert!(!block(HOSTILE).chars().any(|c| acts(c) && c != '\n'));
        assert!(line(HOSTILE).starts_with("a\\u{1b}]0;title\\u{7}"));
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for text in ["{\"key\": \"a b/ü+1.jpg\\\\\"}", "名前 👩‍🔬 u\u{308}", ""] {
            assert_eq!(line(text), text);
        }
        assert_eq!(block("{\n\t1\n}"), "{\n\t1\n}");
    }

    #[test]
    fn json_says_the_same() {
        let value = json!({ HOSTILE: ["\u{9b}", "\n\"\\"] });
        let read: serde_json::Value = serde_json::from_str(&json(&value)).unwrap();
        assert_eq!(read, value);
    }
}
