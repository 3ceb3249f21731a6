//! Decoding request bodies after every length in them is checked against the bytes that are left.
//!
//! The generated decoders of `kafka-protocol` 0.18 allocate an array from the length on the wire before they read its first
//! element (`Vec::with_capacity` in `Array` and `CompactArray`): a frame of 18 bytes asks for 150 GB. Nothing else of theirs
//! that a request uses takes memory from a length: strings and bytes are slices of the frame, and checked.
//!
//! Only the decoder knows which numbers of a request are lengths; a second parser for all requests in all versions could
//! drift from it. So the decoder itself runs over a buffer that replaces each number too large to be an array's length. What
//! the decoder reads next shows what the number was.
//!
//! - A varint is a length, a tag or a count of tags. It is replaced by the length of an empty array or string. If the decoder
//!   then reads a slice, it was a slice's length, and the slice is returned in its true length; else the request is refused.
//! - An `i32` may also be a plain number. It is replaced by 0. If the decoder then reads a slice, it was a slice's length. A
//!   second run replaces the others by -2, which every array decoder refuses; as a plain number it changes nothing in what is
//!   read after it. If that run succeeds, the true numbers are decoded.
//!
//! So an array has at most as many elements as bytes are left, and at most [`Limits::elements`]. Lengths up to [`FEW`] are not
//! replaced; the decoder itself finds missing elements. A request has at most [`Limits::reads`] fields, since a decoded
//! element takes up to thirty times its bytes. This bounds a decoded request to about 50 MB; records are slices of the frame
//! and may have any size.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::{
    Decodable,
    buf::{ByteBuf, NotEnoughBytesError},
};

/// Limits of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Elements of one array.
    pub elements: usize,
    /// Numbers, strings and slices in all.
    pub reads: usize,
}

const LIMITS: Limits = Limits {
    elements: 100_000,
    reads: 1_000_000,
};

/// Numbers up to this are not replaced: the largest varint of one byte, so that tags and booleans stay as they are.
const FEW: usize = 127;

/// Replaces an `i32` in the first run: the length of an empty slice or array.
const EMPTY: i32 = 0;
/// Replaces an `i32` that is not a slice's length in the second run: an error as an array's length.
const IMPOSSIBLE: i32 = -2;

/// Decodes the body of a request.
///
/// # Errors
/// If it is malformed or exceeds the limits.
pub(super) fn decode<T: Decodable>(body: &Bytes, version: i16) -> anyhow::Result<T> {
    decode_within(LIMITS, body, version)
}

fn decode_within<T: Decodable>(limits: Limits, body: &Bytes, version: i16) -> anyhow::Result<T> {
    let mut survey = Survey::new(limits, body, EMPTY, Vec::new());
    let decoded = T::decode(&mut survey, version);
    if survey.numbers == 0 {
        return survey.end(decoded);
    }
    let mut survey = Survey::new(limits, body, IMPOSSIBLE, survey.slices);
    let decoded = T::decode(&mut survey, version);
    survey.end(decoded)?;
    T::decode(&mut body.clone(), version)
}

/// A number that was replaced.
#[derive(Debug, Clone, Copy)]
struct Claim {
    value: usize,
    told: usize,
    /// Bytes left after it.
    left: usize,
    /// Which of the replaced `i32`s it is; none for a varint.
    number: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("a length of {0} where {1} bytes are left, or of more elements than an array may have")]
    Length(usize, usize),
    #[error("more than {0} fields")]
    Reads(usize),
}

/// The buffer that replaces large numbers.
struct Survey {
    limits: Limits,
    rest: Bytes,
    /// What replaces an `i32`.
    tell: i32,
    /// How many `i32`s were replaced.
    numbers: usize,
    /// The indices of those that are lengths of slices, ascending.
    slices: Vec<usize>,
    /// The number that was just replaced; the next read shows what it is.
    claim: Option<Claim>,
    /// Bytes to come of a varint that was looked at.
    varint: usize,
    reads: usize,
    refused: Option<Refused>,
}

impl Survey {
    fn new(limits: Limits, body: &Bytes, tell: i32, slices: Vec<usize>) -> Self {
        Self {
            limits,
            rest: body.clone(),
            tell,
            numbers: 0,
            slices,
            claim: None,
            varint: 0,
            reads: 0,
            refused: None,
        }
    }

    /// The result of the run.
    fn end<T>(mut self, decoded: anyhow::Result<T>) -> anyhow::Result<T> {
        let open = self
            .claim
            .filter(|c| decoded.is_err() || c.number.is_none());
        if let Some(claim) = open {
            self.refuse(Refused::Length(claim.value, claim.left));
        }
        match self.refused {
            Some(refused) => Err(refused.into()),
            None => decoded,
        }
    }

    /// Refuses the request: nothing more can be read of it.
    fn refuse(&mut self, why: Refused) {
        self.refused.get_or_insert(why);
        self.rest.clear();
    }

    /// Called for each read that is not of a slice.
    fn read(&mut self) {
        self.count();
        if let Some(claim) = self.claim.take().filter(|c| c.number.is_none()) {
            self.refuse(Refused::Length(claim.value, claim.left));
        }
    }

    fn count(&mut self) {
        self.reads += 1;
        if self.reads > self.limits.reads {
            self.refuse(Refused::Reads(self.limits.reads));
        }
    }

    /// Most elements of an array that begins where `left` bytes are left.
    fn most(&self, left: usize) -> usize {
        left.min(self.limits.elements).max(FEW)
    }

    /// The replacement of `value`.
    fn number(&mut self, value: i32) -> i32 {
        let most = self.most(self.rest.len());
        let Some(large) = usize::try_from(value).ok().filter(|&v| v > most) else {
            return value;
        };
        let number = self.numbers;
        self.numbers += 1;
        let tell = if self.slices.binary_search(&number).is_ok() {
            EMPTY
        } else {
            self.tell
        };
        self.claim = Some(Claim {
            value: large,
            told: 0,
            left: self.rest.len(),
            number: Some(number),
        });
        tell
    }

    /// Looks at the varint that begins here; true when it is replaced, by 1, and skipped.
    ///
    /// A boolean looks like one, and is taken for one from 128 on, which no client sends.
    fn replaces_varint(&mut self) -> bool {
        let Some((value, size)) = varint(&self.rest) else {
            return false;
        };
        let left = self.rest.len() - size;
        // An array's varint is its length and one.
        if size == 1 || value <= self.most(left) + 1 {
            self.varint = size - 1;
            return false;
        }
        self.rest.advance(size);
        self.claim = Some(Claim {
            value,
            told: 1,
            left,
            number: None,
        });
        true
    }
}

/// The varint at the front, and its size; read as the decoders do, which stop after five bytes.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u32;
    for at in 0..5 {
        let byte = *bytes.get(at)?;
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 || at == 4 {
            return Some((usize::try_from(value).ok()?, at + 1));
        }
    }
    None
}

impl Buf for Survey {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.rest
    }

    /// All reads end here but those below.
    fn advance(&mut self, count: usize) {
        self.rest.advance(count);
        self.varint = 0;
        self.read();
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        if self.varint > 0 {
            self.varint -= 1;
            return self.rest.try_get_u8();
        }
        self.read();
        if self.replaces_varint() {
            return Ok(1);
        }
        self.rest.try_get_u8()
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        self.varint = 0;
        self.read();
        let value = self.rest.try_get_i32()?;
        Ok(self.number(value))
    }
}

impl ByteBuf for Survey {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.rest.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.rest.split_to(size)
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        self.varint = 0;
        self.count();
        let size = match self.claim.take() {
            None => size,
            Some(claim) => {
                if let Some(number) = claim.number.filter(|_| self.tell == EMPTY) {
                    self.slices.push(number);
                }
                // A string's varint is its length and one, a tagged field's its length.
                claim.value - claim.told + size
            }
        };
        self.rest.try_get_bytes(size)
    }
}

#[cfg(test)]
mod tests;
