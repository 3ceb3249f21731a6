//! Decoding, in separate processes or in threads of this one.

mod answer;
mod budget;
#[cfg(target_os = "linux")]
mod process;

pub(crate) use budget::Budget;
#[cfg(target_os = "linux")]
pub use process::decode_if_asked;

use crate::{
    metrics::PictureMetrics,
    recipe::{Made, Recipe},
    settings::{ImageSettings, Isolation},
};
use sightline_contracts::Reason;
use sightline_stream::{Clock, Rejection};
use std::sync::Arc;

/// Memory that a decoder may use without a grant, in bytes: enough for an image of two to ten megapixels, depending on
/// its format.
pub(crate) const ALLOWANCE: u64 = 32 << 20;

/// Always `None`: on this system no process is started to decode.
#[cfg(not(target_os = "linux"))]
pub fn decode_if_asked() -> Option<std::process::ExitCode> {
    None
}

/// Decodes one image at a time. Each thread of the pool has a decoder.
pub(crate) trait Decode: Send {
    /// Decodes an image, and waits for memory if it needs more than [`ALLOWANCE`]. `clock` is stopped while it waits.
    fn decode(&mut self, bytes: &[u8], clock: &Clock) -> Result<Made, Undone>;
}

/// Why an image was not decoded.
#[derive(Debug)]
pub(crate) enum Undone {
    /// Because of the image itself.
    Rejected(Rejection),
    /// For another reason; another attempt may succeed.
    Later(String),
}

impl Undone {
    fn rejected(reason: Reason, error: impl Into<String>) -> Self {
        let error = error.into();
        Self::Rejected(Rejection { reason, error })
    }
}

impl From<Rejection> for Undone {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Makes a decoder for each thread of the pool.
pub(crate) trait Decoders: Send + Sync {
    fn decoder(self: Arc<Self>) -> Box<dyn Decode>;
}

/// Starts decoders as the settings say. `memory` is what all images together may take while they are decoded, in bytes.
///
/// # Errors
/// If no process can be started, or none can be confined.
pub(crate) fn start(
    settings: &ImageSettings,
    recipe: Recipe,
    memory: u64,
    metrics: &PictureMetrics,
) -> anyhow::Result<Arc<dyn Decoders>> {
    let budget = Arc::new(Budget::new(memory, metrics.decode_memory.clone()));
    match settings.decode_isolation {
        Isolation::Thread => Ok(Arc::new(InThread { recipe, budget })),
        #[cfg(target_os = "linux")]
        Isolation::Process => process::start(settings, &recipe, budget, metrics),
        #[cfg(not(target_os = "linux"))]
        Isolation::Process => anyhow::bail!("decoding in processes needs Linux"),
    }
}

/// Decodes on the thread itself, so a crash of the decoder ends the service.
pub(crate) struct InThread {
    recipe: Recipe,
    budget: Arc<Budget>,
}

impl Decoders for InThread {
    fn decoder(self: Arc<Self>) -> Box<dyn Decode> {
        Box::new(self)
    }
}

impl Decode for Arc<InThread> {
    fn decode(&mut self, bytes: &[u8], clock: &Clock) -> Result<Made, Undone> {
        let mut asked = Asked::of(&self.budget, clock);
        let made = self.recipe.make(bytes, &mut |needed| asked.ask(needed));
        match asked.refused() {
            Some(undone) => Err(undone),
            None => Ok(made?),
        }
    }
}

/// One image's request for memory.
struct Asked<'a> {
    budget: &'a Budget,
    clock: &'a Clock,
    /// Held until the image is decoded.
    grant: Option<budget::Grant<'a>>,
    /// Bytes that were asked for and exceed the whole budget.
    refused: Option<u64>,
}

impl<'a> Asked<'a> {
    fn of(budget: &'a Budget, clock: &'a Clock) -> Self {
        Self {
            budget,
            clock,
            grant: None,
            refused: None,
        }
    }

    /// Waits for this many bytes; false if they exceed the budget.
    fn ask(&mut self, needed: u64) -> bool {
        let _waiting = self.clock.stop();
        self.grant = self.budget.take(needed);
        self.refused = self.grant.is_none().then_some(needed);
        self.grant.is_some()
    }

    fn refused(&self) -> Option<Undone> {
        let needed = self.refused?;
        let error = format!(
            "decoding it takes {needed} bytes of memory, more than the limit of {} (--decode-memory)",
            self.budget.total()
        );
        Some(Undone::rejected(Reason::DecodeLimit, error))
    }
}
