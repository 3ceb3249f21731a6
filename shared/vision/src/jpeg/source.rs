//! The bytes as zune-jpeg reads them, and a trace of what it reads.
//!
//! How a frame's components are sampled and how many of them are in the first scan decide how much the decoder
//! allocates.
//! It exposes neither. A second parser might read a damaged header differently, so the positions at which the decoder
//! itself reads are recorded.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use zune_core::bytestream::{ZByteIoError, ZByteReaderTrait, ZCursor, ZSeekFrom};

/// The first bytes of segments with unused metadata: ICC profiles, gain maps, lists of pictures, XMP, IPTC. The decoder
/// would copy and sort them; these bytes are hidden from it, so that it skips the segments.
const PASSED_OVER: [&[u8]; 6] = [
    b"ICC_PROFILE\0",
    b"urn:iso:std:iso:ts:21496:-1\0",
    b"MPF\0",
    b"http://ns.adobe.com/xap/1.0/\0",
    b"http://ns.adobe.com/xmp/extension/\0",
    b"Photoshop 3.0\0",
];

pub(crate) struct Source<'a> {
    bytes: ZCursor<&'a [u8]>,
    trace: Trace,
}

/// The positions at which the decoder has read the header.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Positions>);

#[derive(Default)]
struct Positions {
    /// Of the first component of the frame.
    components: AtomicUsize,
    /// Components that were read.
    count: AtomicUsize,
    /// After the last single byte.
    end: AtomicUsize,
}

impl Trace {
    /// Where the frame's components lie, three bytes each: identifier, sampling, table. None where the decoder has not
    /// read so many of them in a row.
    pub fn components(&self, count: usize) -> Option<usize> {
        let read = self.0.count.load(Relaxed);
        (read == count).then(|| self.0.components.load(Relaxed))
    }

    /// Where the header of the first scan ends: the decoder reads its last bytes one by one, and then nothing.
    pub fn end_of_header(&self) -> usize {
        self.0.end.load(Relaxed)
    }

    fn component_at(&self, position: usize) {
        let count = self.0.count.load(Relaxed);
        if count == 0 {
            self.0.components.store(position, Relaxed);
        }
        // Those that don't follow each other are none that we know.
        let expected = self.0.components.load(Relaxed) + 3 * count;
        let count = if position == expected {
            count + 1
        } else {
            usize::MAX / 2
        };
        self.0.count.store(count, Relaxed);
    }
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> (Self, Trace) {
        let trace = Trace::default();
        let source = Self {
            bytes: ZCursor::new(bytes),
            trace: trace.clone(),
        };
        (source, trace)
    }

    fn position(&mut self) -> usize {
        self.bytes.z_position().map_or(0, |at| at as usize)
    }
}

impl ZByteReaderTrait for Source<'_> {
    #[inline(always)]
    fn read_byte_no_error(&mut self) -> u8 {
        self.bytes.read_byte_no_error()
    }

    /// Of three bytes only the components of a frame are read; of one, what a header is made of. Coded data comes in
    /// fours.
    #[inline(always)]
    fn read_exact_bytes(&mut self, to: &mut [u8]) -> Result<(), ZByteIoError> {
        self.bytes.read_exact_bytes(to)?;
        match to.len() {
            1 => {
                let position = self.position();
                self.trace.0.end.store(position, Relaxed);
            }
            3 => {
                let position = self.position() - 3;
                self.trace.component_at(position);
            }
            _ => {}
        }
        Ok(())
    }

    #[inline(always)]
    fn read_bytes(&mut self, to: &mut [u8]) -> Result<usize, ZByteIoError> {
        self.bytes.read_bytes(to)
    }

    #[inline(always)]
    fn peek_bytes(&mut self, to: &mut [u8]) -> Result<usize, ZByteIoError> {
        self.bytes.peek_bytes(to)
    }

    fn peek_exact_bytes(&mut self, to: &mut [u8]) -> Result<(), ZByteIoError> {
        self.bytes.peek_exact_bytes(to)?;
        if PASSED_OVER.contains(&&*to) {
            to.fill(0);
        }
        Ok(())
    }

    #[inline(always)]
    fn z_seek(&mut self, from: ZSeekFrom) -> Result<u64, ZByteIoError> {
        self.bytes.z_seek(from)
    }

    #[inline(always)]
    fn is_eof(&mut self) -> Result<bool, ZByteIoError> {
        self.bytes.is_eof()
    }

    #[inline(always)]
    fn z_position(&mut self) -> Result<u64, ZByteIoError> {
        self.bytes.z_position()
    }

    fn read_remaining(&mut self, to: &mut Vec<u8>) -> Result<usize, ZByteIoError> {
        self.bytes.read_remaining(to)
    }
}
