//! The identity of an image: one id for its row, its trace and its log lines.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// A 128-bit identity: the first half of SHA-256 over bucket, key and revision, each preceded by its length.
///
/// The revision is the object's version id or, in an unversioned bucket, its etag and sequencer, so that the same
/// key written twice is two images and the same notification delivered twice is one.
/// Written as 32 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId([u8; 16]);

impl ImageId {
    /// The id of an object. `revision` is its version id or, in an unversioned bucket, its etag and sequencer.
    pub fn new(bucket: &str, key: &str, revision: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [bucket, key, revision] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        Self(id)
    }

    /// The id as 16 bytes, the most significant first.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageId({self})")
    }
}

impl FromStr for ImageId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not an image id: 32 lowercase hexadecimal digits expected");
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16)
            .map(|id| Self(id.to_be_bytes()))
            .map_err(|_| wrong())
    }
}

impl Serialize for ImageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(ImageId::new("a", "bc", ""), ImageId::new("ab", "c", ""));
        assert_ne!(ImageId::new("a", "b", "c"), ImageId::new("a", "bc", ""));
    }

    #[test]
    fn reads_back_what_it_prints() {
        let id = ImageId::new("photos", "a b/ü.jpg", "v1");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 32);
        assert!(
            "+0000000000000000000000000000001"
                .parse::<ImageId>()
                .is_err()
        );
    }
}
