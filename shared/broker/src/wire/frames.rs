//! Requests as a connection brings them: frames of a length and as many bytes, read within limits.
//!
//! The buffer grows with what arrives, at most to twice that, never to what a length announces. A frame that has begun is whole
//! before its time is up, or the connection ends; between two frames it may be silent for longer.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::room::{FREE, Held, Room};

/// Largest request (Kafka's `socket.request.max.bytes`): one that carries records.
pub const MAX_PRODUCE: usize = 100 << 20;
/// Largest request of any other kind, as large as a record is by default: Kafka keeps what such a request says as a record.
pub const MAX_OTHER: usize = 1 << 20;
/// The key of `Produce`, with which its frames begin.
const PRODUCE: [u8; 2] = [0, 0];
/// The least that is read at a time.
const STEP: usize = 4 << 10;

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From a frame's first byte to its last.
    pub frame: Duration,
    /// Between two frames, and for taking an answer.
    pub idle: Duration,
}

/// One request, and the room that it takes.
#[derive(Debug)]
pub struct Frame<'a> {
    pub bytes: Bytes,
    pub held: Held<'a>,
}

/// The frames of one connection.
pub struct Frames<R> {
    from: R,
    input: BytesMut,
    times: Times,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub fn new(from: R, times: Times) -> Self {
        Self {
            from,
            input: BytesMut::new(),
            times,
        }
    }

    /// The next frame; `None` when the client is done, or silent for too long.
    ///
    /// # Errors
    /// When a frame is too large, is not whole in time, or the connection ends within it.
    pub async fn next<'a>(&mut self, room: &'a Room) -> anyhow::Result<Option<Frame<'a>>> {
        if self.input.is_empty() {
            // Lets go of the memory of a large request.
            self.input = BytesMut::new();
            self.input.reserve(STEP);
            let begun = timeout(self.times.idle, self.from.read_buf(&mut self.input)).await;
            if begun.unwrap_or(Ok(0))? == 0 {
                return Ok(None);
            }
        }
        match timeout(self.times.frame, self.whole(room)).await {
            Ok(frame) => frame.map(Some),
            Err(_) => anyhow::bail!("a request was not whole within {:?}", self.times.frame),
        }
    }

    async fn whole<'a>(&mut self, room: &'a Room) -> anyhow::Result<Frame<'a>> {
        let mut held = room.hold();
        self.fill(4, &mut held).await?;
        let length = usize::try_from(self.input.get_i32()).unwrap_or(usize::MAX);
        anyhow::ensure!(
            length <= MAX_PRODUCE,
            "a request of {length} bytes, {MAX_PRODUCE} are allowed"
        );
        if length > MAX_OTHER {
            self.fill(PRODUCE.len(), &mut held).await?;
            anyhow::ensure!(
                self.input.starts_with(&PRODUCE),
                "a request without records of {length} bytes, {MAX_OTHER} are allowed"
            );
        }
        self.fill(length, &mut held).await?;
        let bytes = self.input.split_to(length).freeze();
        if !bytes.starts_with(&PRODUCE) {
            held.whole();
        }
        Ok(Frame { bytes, held })
    }

    /// Reads until `count` bytes are there; what comes after a large request is left, so that nothing keeps its memory.
    async fn fill(&mut self, count: usize, held: &mut Held<'_>) -> anyhow::Result<()> {
        while self.input.len() < count {
            let (have, left) = (self.input.len(), count - self.input.len());
            if have == self.input.capacity() {
                self.input.reserve(left.min(have.max(FREE)).max(STEP));
            }
            let most = if count > FREE {
                held.grow(self.input.capacity()).await?;
                left as u64
            } else {
                u64::MAX
            };
            let read = (&mut self.from)
                .take(most)
                .read_buf(&mut self.input)
                .await?;
            anyhow::ensure!(read > 0, "the connection ended within a request");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
