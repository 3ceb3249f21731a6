//! Splits files into the parts of their format, and joins the parts again, changed or not.

use super::{PNG_SIGNATURE, png_chunk};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Png,
    Jpeg,
    Webp,
    Bmp,
}

impl Kind {
    pub fn of(file: &[u8]) -> Option<Self> {
        match file {
            [0xff, 0xd8, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', ..] => Some(Self::Png),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(Self::Webp),
            [b'B', b'M', ..] => Some(Self::Bmp),
            _ => None,
        }
    }
}

/// A chunk of a PNG or WebP, a segment of a JPEG.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The chunk's name; of a segment the code.
    pub name: Vec<u8>,
    pub body: Vec<u8>,
    /// The length that it declares; `None` for the true one.
    pub length: Option<u32>,
    /// Coded data after it, of a JPEG's scan.
    pub coded: Vec<u8>,
}

impl Part {
    fn new(name: &[u8], body: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            body: body.to_vec(),
            length: None,
            coded: Vec::new(),
        }
    }
}

/// The parts of a file, as far as they can be recognised; none of a BMP, which has no chunks.
pub(crate) fn split(kind: Kind, file: &[u8]) -> Vec<Part> {
    match kind {
        Kind::Png => png(&file[PNG_SIGNATURE.len().min(file.len())..]),
        Kind::Jpeg => jpeg(file),
        Kind::Webp => webp(&file[12.min(file.len())..]),
        Kind::Bmp => Vec::new(),
    }
}

/// The file of these parts. CRCs are right, and so are lengths that no part overrides.
pub(crate) fn join(kind: Kind, parts: &[Part]) -> Vec<u8> {
    match kind {
        Kind::Png => {
            let mut file = PNG_SIGNATURE.to_vec();
            for part in parts {
                let name = part.name.first_chunk().unwrap_or(b"tEXt");
                let mut chunk = png_chunk(name, &part.body);
                if let Some(length) = part.length {
                    chunk[..4].copy_from_slice(&length.to_be_bytes());
                }
                file.extend(chunk);
            }
            file
        }
        Kind::Jpeg => {
            let mut file = vec![0xff, 0xd8];
            for part in parts {
                file.push(0xff);
                file.extend(&part.name);
                let length = part.length.unwrap_or(part.body.len() as u32 + 2);
                file.extend((length as u16).to_be_bytes());
                file.extend(&part.body);
                file.extend(&part.coded);
            }
            file.extend([0xff, 0xd9]);
            file
        }
        Kind::Webp => {
            let mut body = b"WEBP".to_vec();
            for part in parts {
                let length = part.length.unwrap_or(part.body.len() as u32);
                body.extend(&part.name);
                body.extend(length.to_le_bytes());
                body.extend(&part.body);
                body.resize(body.len() + part.body.len() % 2, 0);
            }
            super::riff_chunk(b"RIFF", &body)
        }
        Kind::Bmp => Vec::new(),
    }
}

fn png(mut rest: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(body) = after.get(..length) else {
            break;
        };
        parts.push(Part::new(&head[4..], body));
        rest = after.get(length + 4..).unwrap_or_default();
    }
    parts
}

fn webp(mut rest: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some(body) = after.get(..length) else {
            break;
        };
        parts.push(Part::new(&head[..4], body));
        rest = after.get(length + length % 2..).unwrap_or_default();
    }
    parts
}

fn jpeg(file: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 2;
    while let Some(&[0xff, code, high, low]) = file.get(at..).and_then(|rest| rest.first_chunk()) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(body) = file.get(at + 4..at + 2 + length.max(2)) else {
            break;
        };
        let mut part = Part::new(&[code], body);
        at += 2 + length.max(2);
        if code == 0xda {
            let marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7);
            let coded = file[at..]
                .windows(2)
                .position(marker)
                .unwrap_or(file.len() - at);
            part.coded = file[at..at + coded].to_vec();
            at += coded;
        }
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{Jpeg, Png, flat_jpeg, flat_png, flat_webp_lossless};

    #[test]
    fn what_is_taken_apart_goes_together_again() {
        let sampling = &[(2, 2), (1, 1), (1, 1)];
        let jpeg = Jpeg {
            width: 40,
            height: 30,
            sampling,
            progressive: true,
            interleaved: true,
        };
        let png = Png {
            width: 40,
            height: 30,
            depth: 8,
            color: 3,
            interlaced: true,
        };
        for (file, count) in [
            (flat_jpeg(&jpeg), 8),
            (flat_png(&png), 4),
            (flat_webp_lossless(9, 9, true), 1),
        ] {
            let kind = Kind::of(&file).unwrap();
            let parts = split(kind, &file);
            assert_eq!(parts.len(), count, "{kind:?}");
            assert_eq!(join(kind, &parts), file, "{kind:?}");
        }
    }
}
