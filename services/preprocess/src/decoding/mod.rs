//! Where images are decoded: in processes of their own, or in this one.

mod answer;
#[cfg(target_os = "linux")]
mod process;
mod room;

#[cfg(target_os = "linux")]
pub use process::decode_if_asked;
pub(crate) use room::Room;

use crate::{
    metrics::PictureMetrics,
    recipe::{Made, Recipe},
    settings::{ImageSettings, Isolation},
};
use sightline_contracts::Reason;
use sightline_stream::Rejection;
use std::sync::Arc;

/// Memory that a decoder has without asking: enough for an image of two to ten megapixels, by its kind.
pub(crate) const ALLOWANCE: u64 = 32 << 20;

/// Whether this process was started to decode for another: on this system none is.
#[cfg(not(target_os = "linux"))]
pub fn decode_if_asked() -> Option<std::process::ExitCode> {
    None
}

/// Takes one image at a time; each thread of the pool has one.
pub(crate) trait Decode: Send {
    fn decode(&mut self, bytes: &[u8]) -> Result<Made, Undone>;
}

/// Why nothing came of an image.
#[derive(Debug)]
pub(crate) enum Undone {
    /// It is to blame.
    Rejected(Rejection),
    /// Something else is: try again.
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

/// What the settings ask for. `memory` is what images may take while they are decoded, all together, in bytes.
///
/// # Errors
/// Where no process can be started, or none be confined.
pub(crate) fn start(
    settings: &ImageSettings,
    recipe: Recipe,
    memory: u64,
    metrics: &PictureMetrics,
) -> anyhow::Result<Arc<dyn Decoders>> {
    let room = Arc::new(Room::new(memory, metrics.decode_memory.clone()));
    match settings.decode_isolation {
        Isolation::Thread => Ok(Arc::new(InThread { recipe, room })),
        #[cfg(target_os = "linux")]
        Isolation::Process => process::start(settings, &recipe, room, metrics),
        #[cfg(not(target_os = "linux"))]
        Isolation::Process => anyhow::bail!("decoding in processes needs Linux"),
    }
}

/// Decodes on the thread itself: a decoder that is fooled takes the service with it.
pub(crate) struct InThread {
    recipe: Recipe,
    room: Arc<Room>,
}

impl Decoders for InThread {
    fn decoder(self: Arc<Self>) -> Box<dyn Decode> {
        Box::new(self)
    }
}

impl Decode for Arc<InThread> {
    fn decode(&mut self, bytes: &[u8]) -> Result<Made, Undone> {
        let (mut place, mut refused) = (None, None);
        let mut ask = |needed| {
            place = self.room.take(needed);
            refused = place.is_none().then_some(needed);
            place.is_some()
        };
        let made = self.recipe.make(bytes, &mut ask);
        match refused {
            Some(needed) => Err(no_room(needed, &self.room)),
            None => Ok(made?),
        }
    }
}

/// The rejection of an image that needs more than there ever is.
fn no_room(needed: u64, room: &Room) -> Undone {
    Undone::rejected(
        Reason::DecodeLimit,
        format!(
            "decoding it takes {needed} bytes of memory, more than the limit of {} (--decode-memory)",
            room.total()
        ),
    )
}
