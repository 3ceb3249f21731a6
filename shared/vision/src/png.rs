//! PNG, by the png crate directly. It decodes row by row, so that no second buffer of the picture's size is needed, and
//! it
//! can be told not to decompress colour profiles and texts.

use crate::{
    Error, Format, Limits, Picture, header,
    turn::{self, Canvas},
};
use png::{ColorType, Decoder, DecodingError, Reader, Transformations};
use std::io::{Cursor, ErrorKind};

const FORMAT: Format = Format::Png;

/// The decoder's own memory: the decompressor, and the least of its buffers for chunks and rows.
const OVERHEAD: u64 = 768 << 10;

/// Rows held at most: those in the decoder's buffer, which grows by doubling, and one here.
const ROWS: u64 = 22;

pub(crate) struct Header<'a> {
    reader: Reader<Cursor<&'a [u8]>>,
}

impl<'a> Header<'a> {
    pub fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        // The only chunk read without a bound is EXIF, and it is not compressed: the file limits its length.
        let unbounded = png::Limits { bytes: usize::MAX };
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), unbounded);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        // Samples become 8-bit RGB or grey; of 16 bits the high byte is used.
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        let size = decoder.read_header_info().map_err(sort)?.size();
        limits.check(FORMAT, size)?;
        let reader = decoder.read_info().map_err(sort)?;
        Ok(Self { reader })
    }
}

impl header::Header for Header<'_> {
    fn size(&self) -> (u32, u32) {
        self.reader.info().size()
    }

    /// The picture, the rows held, and three copies of EXIF.
    fn memory(&self) -> u64 {
        let (width, height) = self.size();
        let row = self.reader.info().raw_row_length().max(4 * width as usize) as u64;
        let exif = self.reader.info().exif_metadata.as_ref();
        let exif = exif.map_or(0, |exif| exif.len() as u64);
        3 * u64::from(width) * u64::from(height) + ROWS * row + 3 * exif + OVERHEAD
    }

    fn decode(self: Box<Self>) -> Result<Picture, Error> {
        let Self { mut reader } = *self;
        let size = reader.info().size();
        let exif = reader.info().exif_metadata.as_deref();
        let mut canvas = Canvas::new(size, turn::orientation(exif));
        let line = reader.output_line_size(size.0);
        let mut line = vec![0; line.ok_or_else(|| Error::corrupt(FORMAT, "rows too long"))?];
        let (color, _) = reader.output_color_type();
        for pass in passes(reader.info().interlaced) {
            for y in pass.rows(size) {
                match canvas.row(y) {
                    Some(row) if color == ColorType::Rgb && pass.step.0 == 1 => {
                        read_row(&mut reader, row)?;
                    }
                    _ => {
                        read_row(&mut reader, &mut line)?;
                        put(&mut canvas, color, &pass, y, &line[..], size);
                    }
                }
            }
        }
        // Checks that the compressed data ends here.
        match reader.read_row(&mut line).map_err(sort)? {
            None => canvas.finish(FORMAT),
            Some(_) => Err(Error::corrupt(FORMAT, "more rows than its height")),
        }
    }
}

fn read_row(reader: &mut Reader<Cursor<&[u8]>>, row: &mut [u8]) -> Result<(), Error> {
    let read = reader.read_row(row).map_err(sort)?;
    read.map(drop)
        .ok_or_else(|| Error::corrupt(FORMAT, "fewer rows than its height"))
}

/// Writes a row of a pass, which has 8-bit samples, to the canvas.
fn put(
    canvas: &mut Canvas,
    color: ColorType,
    pass: &Pass,
    y: usize,
    line: &[u8],
    (width, _): (u32, u32),
) {
    let columns = pass.columns(width);
    let (x, step) = (pass.start.0, pass.step.0);
    match color {
        ColorType::Grayscale | ColorType::Indexed => {
            let pixels = line[..columns].iter();
            canvas.put(y, x, step, pixels.map(|grey| [*grey; 3]));
        }
        ColorType::GrayscaleAlpha => {
            let (pixels, _) = line[..2 * columns].as_chunks::<2>();
            canvas.put(y, x, step, pixels.iter().map(|[grey, _]| [*grey; 3]));
        }
        ColorType::Rgb => {
            let (pixels, _) = line[..3 * columns].as_chunks::<3>();
            canvas.put(y, x, step, pixels.iter().copied());
        }
        ColorType::Rgba => {
            let (pixels, _) = line[..4 * columns].as_chunks::<4>();
            canvas.put(y, x, step, pixels.iter().map(|[r, g, b, _]| [*r, *g, *b]));
        }
    }
}

/// One pass of an interlaced picture: the pixels of each `step`-th column and row, from `start` on.
struct Pass {
    start: (usize, usize),
    step: (usize, usize),
}

/// One pass without interlacing, the seven of Adam7 with it: PNG (third edition), 8.1.
fn passes(interlaced: bool) -> impl Iterator<Item = Pass> {
    const PLAIN: [(usize, usize, usize, usize); 1] = [(0, 0, 1, 1)];
    const ADAM7: [(usize, usize, usize, usize); 7] = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ];
    let table: &[_] = if interlaced { &ADAM7 } else { &PLAIN };
    table.iter().map(|&(x, y, across, down)| Pass {
        start: (x, y),
        step: (across, down),
    })
}

impl Pass {
    fn columns(&self, width: u32) -> usize {
        (width as usize)
            .saturating_sub(self.start.0)
            .div_ceil(self.step.0)
    }

    /// The picture's rows that are in the pass; none if it has no column.
    fn rows(&self, (width, height): (u32, u32)) -> impl Iterator<Item = usize> + use<> {
        let end = if self.columns(width) > 0 {
            height as usize
        } else {
            0
        };
        (self.start.1..end).step_by(self.step.1)
    }
}

fn sort(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(io) if io.kind() == ErrorKind::UnexpectedEof => {
            Error::Truncated { format: FORMAT }
        }
        error => Error::corrupt(FORMAT, error),
    }
}
