//! The bytes as image-webp reads them.
//!
//! A lossy frame has a header with its own size. Within a container the decoder allocates memory for that size before
//! it
//! compares it with the container's. It is therefore compared here, when the decoder reads it.

use std::{
    io::{self, BufRead, Cursor, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// Begins the header of a VP8 key frame; width and height follow. RFC 6386, 9.1.
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

pub(crate) struct Source<'a> {
    bytes: Cursor<&'a [u8]>,
    canvas: Canvas,
}

/// The largest frame that is allowed: any size until it is set.
#[derive(Clone)]
pub(crate) struct Canvas(Arc<[AtomicU32; 2]>);

impl Canvas {
    pub fn set(&self, (width, height): (u32, u32)) {
        self.0[0].store(width, Relaxed);
        self.0[1].store(height, Relaxed);
    }
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> (Self, Canvas) {
        let canvas = Canvas(Arc::new([u32::MAX.into(), u32::MAX.into()]));
        let source = Self {
            bytes: Cursor::new(bytes),
            canvas: canvas.clone(),
        };
        (source, canvas)
    }

    /// The size that follows the start code must fit the canvas.
    fn check_frame(&self) -> io::Result<()> {
        let rest = self.bytes.get_ref().get(self.bytes.position() as usize..);
        let Some([w0, w1, h0, h1]) = rest.and_then(|rest| rest.first_chunk()) else {
            return Ok(());
        };
        // The upper two bits are a scale for displaying.
        let side = |bytes: [u8; 2]| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
        let (width, height) = (side([*w0, *w1]), side([*h0, *h1]));
        let [most_width, most_height] = &*self.canvas.0;
        if width > most_width.load(Relaxed) || height > most_height.load(Relaxed) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of {width}×{height} pixels is larger than its picture"),
            ));
        }
        Ok(())
    }
}

impl Read for Source<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(to)?;
        if to == START_CODE {
            self.check_frame()?;
        }
        Ok(count)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bytes.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.bytes.consume(count);
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}
