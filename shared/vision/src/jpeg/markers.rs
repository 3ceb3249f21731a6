//! The marker structure of a JPEG file: ITU-T T.81, annex B.
//!
//! Recognises truncated files, and names kinds that the decoder does not support. No size is taken from here, because
//! the
//! decoder may read a damaged file differently.

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
/// Begins the frames of a hierarchical file.
const DHP: u8 = 0xde;

/// A marker and the position of its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub code: u8,
    /// Position of the segment's first byte after its length; for a marker without a segment the one after its code.
    pub start: usize,
    /// Position after the segment.
    pub end: usize,
}

/// The markers in order. Coded data between them is passed over: in it 0xff is followed by 0.
pub(crate) fn markers(bytes: &[u8]) -> impl Iterator<Item = Marker> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let code_at = next_code(bytes, at)?;
        let code = bytes[code_at];
        let marker = match code {
            // Without a segment: TEM, RST0…7, SOI, EOI.
            0x01 | 0xd0..=SOI | EOI => Marker {
                code,
                start: code_at + 1,
                end: code_at + 1,
            },
            _ => {
                let length: [u8; 2] = bytes.get(code_at + 1..code_at + 3)?.try_into().ok()?;
                let end = code_at + 1 + usize::from(u16::from_be_bytes(length)).max(2);
                Marker {
                    code,
                    start: code_at + 3,
                    end,
                }
            }
        };
        at = marker.end;
        Some(marker)
    })
}

/// Where the code of the next marker is: after 0xff and any fill bytes, and not a stuffed 0.
fn next_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        at += bytes[at..].iter().position(|&byte| byte != 0xff)?;
        if bytes[at] != 0 {
            return Some(at);
        }
    }
}

/// Whether the file goes on until its end-of-image marker. Segments are skipped by their length, so that the end of an
/// embedded preview is not taken for the picture's.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    markers(bytes).any(|marker| marker.code == EOI)
}

/// The unsupported kind of a file that the decoder has refused: T.81, table B.1. `None` if it is a supported one.
pub(crate) fn unsupported(bytes: &[u8]) -> Option<&'static str> {
    let frame = markers(bytes)
        .find(|marker| matches!(marker.code, 0xc0..=0xcf | DHP) && !is_table(marker.code))?;
    let header = bytes.get(frame.start..frame.start + 3)?;
    match frame.code {
        0xc3 => Some("lossless coding"),
        0xc5..=0xc7 | DHP => Some("hierarchical coding"),
        0xc9..=0xcf => Some("arithmetic coding"),
        _ if header[0] != 8 => Some("12 bits for a sample: only 8 are supported"),
        _ if header[1..] == [0, 0] => Some("a height that is only told after the first scan (DNL)"),
        _ => None,
    }
}

/// Whether a code within the range of frame headers is another marker: DHT, JPG, DAC.
fn is_table(code: u8) -> bool {
    matches!(code, 0xc4 | 0xc8 | 0xcc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_within_a_segment_or_stuffed_is_not_the_end() {
        let cut = b"\xff\xd8\xff\xe1\x00\x06\xff\xd8\xff\xd9\xff\xda\x00\x02coded\xff\x00data";
        assert!(!is_complete(cut));
        assert_eq!(
            markers(cut).map(|marker| marker.code).collect::<Vec<_>>(),
            [0xd8, 0xe1, 0xda]
        );
        assert!(is_complete(&[&cut[..], b"\xff\xff\xd9"].concat()));
        assert!(!is_complete(b"\xff\xd8\xff\xe1"));
    }
}
