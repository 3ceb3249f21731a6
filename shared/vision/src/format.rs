//! The format of a file, by its first bytes.

use std::fmt;

/// A supported file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG, also interlaced.
    Png,
    /// Windows bitmap.
    Bmp,
    /// WebP, lossy or lossless.
    Webp,
}

impl Format {
    /// The format that the magic bytes declare; `None` for any other bytes.
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else if bytes.starts_with(b"BM") && bitmap(bytes) {
            Some(Self::Bmp)
        } else {
            None
        }
    }
}

/// Whether the size of the second header is one that exists. Texts, too, begin with "BM".
fn bitmap(bytes: &[u8]) -> bool {
    let size = bytes.get(14..18);
    size.is_some_and(|size| matches!(size, [12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Bmp => "BMP",
            Self::Webp => "WebP",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_decide() {
        for (bytes, format) in [
            (&b"\xff\xd8\xff\xe0rest"[..], Format::Jpeg),
            (b"\x89PNG\r\n\x1a\nrest", Format::Png),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Format::Webp),
            (b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", Format::Bmp),
        ] {
            assert_eq!(Format::detect(bytes), Some(format));
        }
        for other in [
            "",
            "BM",
            "BMW drivers read this text",
            "GIF89a",
            "%PDF-1.7",
            "RIFF....WAVE",
        ] {
            assert_eq!(Format::detect(other.as_bytes()), None, "{other}");
        }
    }
}
