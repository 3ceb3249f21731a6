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
use sightline_stream::{Clock, Rejection};
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
    /// Waits for memory where the image needs much; `clock` stands still meanwhile.
    fn decode(&mut self, bytes: &[u8], clock: &Clock) -> Result<Made, Undone>;
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
    fn decode(&mut self, bytes: &[u8], clock: &Clock) -> Result<Made, Undone> {
        let mut asked = Asked::of(&self.room, clock);
        let made = self.recipe.make(bytes, &mut |needed| asked.ask(needed));
        match asked.refused() {
            Some(undone) => Err(undone),
            None => Ok(made?),
        }
    }
}

/// One image's question for memory.
struct Asked<'a> {
    room: &'a Room,
    clock: &'a Clock,
    /// Held until the image is done with.
    place: Option<room::Place<'a>>,
    /// What it needs and there never is.
    refused: Option<u64>,
}

impl<'a> Asked<'a> {
    fn of(room: &'a Room, clock: &'a Clock) -> Self {
        Self {
            room,
            clock,
            place: None,
            refused: None,
        }
    }

    /// Waits for so many bytes; false where there never are.
    fn ask(&mut self, needed: u64) -> bool {
        let _waiting = self.clock.stop();
        self.place = self.room.take(needed);
        self.refused = self.place.is_none().then_some(needed);
        self.place.is_some()
    }

    fn refused(&self) -> Option<Undone> {
        let needed = self.refused?;
        let error = format!(
            "decoding it takes {needed} bytes of memory, more than the limit of {} (--decode-memory)",
            self.room.total()
        );
        Some(Undone::rejected(Reason::DecodeLimit, error))
    }
}
