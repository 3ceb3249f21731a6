//! The memory budget of requests while they are read, over all connections.
//!
//! A frame reserves memory as its bytes arrive, so a connection that announces much and sends little holds little. Frames
//! that wait for each other's memory would deadlock, so when the pool is exhausted, one frame at a time is read outside it.
//! All frames together take at most the pool, one frame more, and [`FREE`] bytes a connection.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of a frame that need no reservation.
pub(super) const FREE: usize = 64 << 10;
/// The pool: with one frame more of the largest size (100 MiB), 256 MiB.
const POOL_KIB: usize = 156 << 10;

/// The budget that all connections share.
#[derive(Debug)]
pub(super) struct Budget {
    pool: Semaphore,
    last: Semaphore,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(POOL_KIB)
    }
}

impl Budget {
    pub(super) fn of(pool_kib: usize) -> Self {
        Self {
            pool: Semaphore::new(pool_kib),
            last: Semaphore::new(1),
        }
    }

    /// The reservation of a new frame, empty.
    pub(super) fn hold(&self) -> Held<'_> {
        Held {
            budget: self,
            kib: 0,
            pool: None,
            last: None,
        }
    }
}

/// The memory that one frame reserves; dropping it frees it.
#[derive(Debug)]
pub(super) struct Held<'a> {
    budget: &'a Budget,
    kib: usize,
    pool: Option<SemaphorePermit<'a>>,
    last: Option<SemaphorePermit<'a>>,
}

impl<'a> Held<'a> {
    /// Waits until the frame may take `bytes` in all.
    ///
    /// # Errors
    /// Only if a semaphore is closed, which never happens.
    pub(super) async fn grow(&mut self, bytes: usize) -> anyhow::Result<()> {
        let kib = bytes.saturating_sub(FREE).div_ceil(1024);
        if kib <= self.kib || self.last.is_some() {
            return Ok(());
        }
        let more = u32::try_from(kib - self.kib)?;
        match self.budget.pool.try_acquire_many(more) {
            Ok(permit) => self.take(permit, kib),
            Err(_) => tokio::select! {
                permit = self.budget.pool.acquire_many(more) => self.take(permit?, kib),
                permit = self.budget.last.acquire() => self.last = Some(permit?),
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

    /// Called when the frame is complete: if it was read outside the pool, the next one may be.
    pub(super) fn whole(&mut self) {
        self.last = None;
    }
}
