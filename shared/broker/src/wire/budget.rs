//! The memory that requests take while they are read, over all connections.
//!
//! A frame takes room as its bytes arrive, so that a connection that announces much and sends little holds little. Frames that
//! wait for each other's room would wait for ever: where the pool is used up, one frame at a time is read to its end beside it.
//! So all frames together take at most the pool, one frame more, and [`FREE`] a connection.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes that a frame takes without asking.
pub const FREE: usize = 64 << 10;
/// The pool: with one frame more of the largest size (100 MiB), 256 MiB.
const POOL_KIB: usize = 156 << 10;

/// See the module.
#[derive(Debug)]
pub struct Room {
    pool: Semaphore,
    last: Semaphore,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(POOL_KIB)
    }
}

impl Room {
    pub fn of(pool_kib: usize) -> Self {
        Self {
            pool: Semaphore::new(pool_kib),
            last: Semaphore::new(1),
        }
    }

    /// A frame of no bytes yet.
    pub fn hold(&self) -> Held<'_> {
        Held {
            room: self,
            kib: 0,
            pool: None,
            last: None,
        }
    }
}

/// The room of one frame; dropping it gives it back.
#[derive(Debug)]
pub struct Held<'a> {
    room: &'a Room,
    kib: usize,
    pool: Option<SemaphorePermit<'a>>,
    last: Option<SemaphorePermit<'a>>,
}

impl<'a> Held<'a> {
    /// Waits until the frame may take `bytes` in all.
    ///
    /// # Errors
    /// None but those of closed semaphores, which these never are.
    pub async fn grow(&mut self, bytes: usize) -> anyhow::Result<()> {
        let kib = bytes.saturating_sub(FREE).div_ceil(1024);
        if kib <= self.kib || self.last.is_some() {
            return Ok(());
        }
        let more = u32::try_from(kib - self.kib)?;
        match self.room.pool.try_acquire_many(more) {
            Ok(permit) => self.take(permit, kib),
            Err(_) => tokio::select! {
                permit = self.room.pool.acquire_many(more) => self.take(permit?, kib),
                permit = self.room.last.acquire() => self.last = Some(permit?),
            },
        }
        Ok(())
    }

    fn take(&mut self, permit: SemaphorePermit<'a>, kib: usize) {
        self.kib = kib;
        match &mut self.pool {
            Some(held) => held.merge(permit),
            None => self.pool = Some(permit),
        }
    }

    /// Lets the next frame be read beside the pool, if this one was: it is whole, and its answer may take long.
    pub fn whole(&mut self) {
        self.last = None;
    }
}
