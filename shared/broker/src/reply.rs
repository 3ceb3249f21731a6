//! An answer on its way: bytes, and slices of files that are copied only as the connection takes them.

use std::io;
use std::os::unix::fs::FileExt;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::log::read::Slice;

/// Bytes of a file copied at a time: all the memory an answer takes.
const PIECE: usize = 256 << 10;

enum Chunk {
    Bytes(Bytes),
    Slice(Slice),
}

/// See the module.
#[derive(Default)]
pub struct Reply {
    chunks: Vec<Chunk>,
    length: usize,
}

impl Reply {
    pub fn push(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        self.chunks.push(Chunk::Bytes(bytes));
    }

    pub fn push_slice(&mut self, slice: Slice) {
        self.length += slice.length;
        self.chunks.push(Chunk::Slice(slice));
    }

    /// Writes the length, the header and the body. `buffer` is scratch space, kept by the connection.
    ///
    /// # Errors
    /// When a log can't be read or the connection is gone; either way the connection is unusable.
    pub async fn write(
        self,
        header: &[u8],
        buffer: &mut BytesMut,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let length = u32::try_from(header.len() + self.length).map_err(io::Error::other)?;
        buffer.clear();
        buffer.put_u32(length);
        buffer.put_slice(header);
        for chunk in self.chunks {
            match chunk {
                Chunk::Bytes(bytes) if buffer.len() + bytes.len() <= PIECE => {
                    buffer.put_slice(&bytes)
                }
                Chunk::Bytes(bytes) => {
                    to.write_all(buffer).await?;
                    buffer.clear();
                    to.write_all(&bytes).await?;
                }
                Chunk::Slice(slice) => copy(&slice, buffer, to).await?,
            }
        }
        to.write_all(buffer).await?;
        to.flush().await
    }
}

/// Copies the slice through the buffer; the rest of it stays there for what follows.
async fn copy(
    slice: &Slice,
    buffer: &mut BytesMut,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut done = 0;
    while done < slice.length {
        if buffer.len() >= PIECE {
            to.write_all(buffer).await?;
            buffer.clear();
        }
        let at = buffer.len();
        let piece = (slice.length - done).min(PIECE - at);
        buffer.resize(at + piece, 0);
        slice
            .file
            .read_exact_at(&mut buffer[at..], slice.position + done as u64)?;
        done += piece;
    }
    Ok(())
}
