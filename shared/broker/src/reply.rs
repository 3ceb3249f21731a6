//! Replies: bytes, and slices of log files that are copied to the connection piece by piece.

use crate::log::read::Slice;
use bytes::{BufMut, Bytes, BytesMut};
use std::{io, os::unix::fs::FileExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Bytes of a file copied at a time; bounds the memory of a reply.
const PIECE: usize = 256 << 10;

enum Chunk {
    Bytes(Bytes),
    Slice(Slice),
}

/// The body of a reply to a request.
#[derive(Default)]
pub(crate) struct Reply {
    chunks: Vec<Chunk>,
    length: usize,
}

impl Reply {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        self.chunks.push(Chunk::Bytes(bytes));
    }

    pub(crate) fn push_slice(&mut self, slice: Slice) {
        self.length += slice.length;
        self.chunks.push(Chunk::Slice(slice));
    }

    /// Writes length, header and body. `buffer` is scratch space that the connection keeps.
    ///
    /// # Errors
    /// If a log can't be read or the connection is closed. The connection is unusable then.
    pub(crate) async fn write(
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

/// Copies the slice through the buffer, which keeps the last part of it.
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
