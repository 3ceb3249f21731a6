//! Reading frames within limits: a length and as many bytes.
//!
//! The buffer grows with the bytes that arrive, to at most twice as many, never with the announced length. A started frame
//! must be complete within the request timeout; between frames the longer idle timeout applies.

use super::budget::{Budget, FREE, Held};
use bytes::{Buf, Bytes, BytesMut};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// Largest request (Kafka's `socket.request.max.bytes`): one that carries records.
pub(super) const MAX_PRODUCE: usize = 100 << 20;
/// Largest other request: the default size of a record, since Kafka stores the content of such requests as records.
pub(super) const MAX_OTHER: usize = 1 << 20;
/// The API key of `Produce`, the first two bytes of its frames.
const PRODUCE: [u8; 2] = [0, 0];
/// The smallest read.
const STEP: usize = 4 << 10;

/// Timeouts of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// From a frame's first byte to its last.
    pub frame: Duration,
    /// Between two frames, and for reading a reply.
    pub idle: Duration,
}

/// One request, and the part of the budget that it holds.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub bytes: Bytes,
    pub held: Held<'a>,
}

/// The frames of one connection.
pub(super) struct Frames<R> {
    from: R,
    input: BytesMut,
    times: Times,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(from: R, times: Times) -> Self {
        Self {
            from,
            input: BytesMut::new(),
            times,
        }
    }

    /// The next frame; `None` if the client closes the connection or the idle timeout passes.
    ///
    /// # Errors
    /// If a frame is too large or not complete in time, or the connection ends within it.
    pub(super) async fn next<'a>(
        &mut self,
        budget: &'a Budget,
    ) -> anyhow::Result<Option<Frame<'a>>> {
        if self.input.is_empty() {
            // Frees the memory of a large request.
            self.input = BytesMut::new();
            self.input.reserve(STEP);
            let begun = timeout(self.times.idle, self.from.read_buf(&mut self.input)).await;
            if begun.unwrap_or(Ok(0))? == 0 {
                return Ok(None);
            }
        }
        match timeout(self.times.frame, self.whole(budget)).await {
            Ok(frame) => frame.map(Some),
            Err(_) => anyhow::bail!("a request was not whole within {:?}", self.times.frame),
        }
    }

    async fn whole<'a>(&mut self, budget: &'a Budget) -> anyhow::Result<Frame<'a>> {
        let mut held = budget.hold();
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

    /// Reads until the buffer has `count` bytes. After a large request no bytes of the next one are read, which would keep
    /// its memory.
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
