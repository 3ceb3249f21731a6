//! Decoding in processes of their own: whatever an image does to one of them, the service and the other images go on.

use super::{ALLOWANCE, Decode, Decoders, Room, Undone, answer, no_room};
use crate::{
    metrics::{Deaths, PictureMetrics},
    recipe::{Made, Recipe},
    settings::ImageSettings,
};
use anyhow::Context as _;
use sightline_contracts::Reason;
use sightline_sandbox::{Failure, Job, Limits, Program, Spawner, Worker, serve_if_asked};
use sightline_stream::{Rejection, with_causes};
use std::{io, process::ExitCode, sync::Arc};

/// Where this process was started to decode for a service: does so until the service is gone. The first line of the
/// `main` of every program that runs this service.
pub fn decode_if_asked() -> Option<ExitCode> {
    serve_if_asked(job())
}

/// The head of a request is the recipe, the body the image.
fn job() -> impl Job {
    let mut known: Option<(Vec<u8>, Recipe)> = None;
    move |head: &[u8], body: &[u8], ask: &mut dyn FnMut(u64) -> bool| {
        if known.as_ref().is_none_or(|(json, _)| json != head) {
            let read = serde_json::from_slice(head).ok();
            known = read.map(|recipe| (head.to_vec(), recipe));
        }
        answer::encode(match &known {
            Some((_, recipe)) => recipe.make(body, ask),
            None => Err(Rejection {
                reason: Reason::Internal,
                error: "the recipe can't be read".to_owned(),
            }),
        })
    }
}

/// The processes of the service.
pub(crate) struct Processes {
    spawner: Spawner,
    /// JSON, as the requests carry it.
    recipe: Vec<u8>,
    shape: [usize; 3],
    room: Arc<Room>,
    deaths: Deaths,
}

/// Starts one, to see that it can be done.
pub(crate) fn start(
    settings: &ImageSettings,
    recipe: &Recipe,
    room: Arc<Room>,
    metrics: &PictureMetrics,
) -> anyhow::Result<Arc<dyn Decoders>> {
    let program = match &settings.decode_program {
        Some(path) => Program::at(path),
        None => Program::running(),
    };
    let limits = Limits {
        allowance: ALLOWANCE,
        work: settings.decode_time,
        answer: recipe.answer_bytes(),
    };
    let spawner = Spawner::start(program, limits)?;
    let first = spawner.take().context(
        "can't start a process to decode in (--decode-isolation thread decodes in this one, without protection)",
    )?;
    for lacking in first.lacks() {
        tracing::warn!(
            lacking,
            "this kernel can't hold decoders to all of their rules; the others hold"
        );
    }
    let [height, width] = recipe.preprocessing.size;
    Ok(Arc::new(Processes {
        spawner,
        recipe: serde_json::to_vec(recipe)?,
        shape: [3, height, width],
        room,
        deaths: metrics.deaths.clone(),
    }))
}

impl Decoders for Processes {
    fn decoder(self: Arc<Self>) -> Box<dyn Decode> {
        Box::new(InProcess {
            worker: self.spawner.take().ok(),
            fresh: true,
            processes: self,
        })
    }
}

/// One thread's process.
struct InProcess {
    processes: Arc<Processes>,
    /// None before the first image, and after one that the process died of.
    worker: Option<Worker>,
    /// It has not worked on an image yet.
    fresh: bool,
}

impl Decode for InProcess {
    fn decode(&mut self, bytes: &[u8]) -> Result<Made, Undone> {
        loop {
            let fresh = self.worker.is_none() || self.fresh;
            match self.once(bytes) {
                // What the allocator kept of earlier images may have been in this one's way.
                Err(Died(Failure::Memory { .. })) if !fresh => {}
                Err(Died(failure)) => return Err(self.processes.undone(failure)),
                Err(NoRoom(needed)) => return Err(no_room(needed, &self.processes.room)),
                Err(NoWorker(error)) => {
                    let error = format!("can't start a process to decode in: {error}");
                    return Err(Undone::Later(error));
                }
                Ok(answer) => return self.processes.read(&answer),
            }
        }
    }
}

/// Why a process gave no answer to read.
enum Unanswered {
    Died(Failure),
    NoRoom(u64),
    NoWorker(io::Error),
}
use Unanswered::{Died, NoRoom, NoWorker};

impl InProcess {
    fn once(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Unanswered> {
        let processes = &self.processes;
        let worker = match self.worker.take() {
            Some(worker) => self.worker.insert(worker),
            None => {
                self.fresh = true;
                let worker = processes.spawner.take().map_err(NoWorker)?;
                self.worker.insert(worker)
            }
        };
        let (mut place, mut refused) = (None, None);
        let mut admit = |needed| {
            place = processes.room.take(needed);
            refused = place.is_none().then_some(needed);
            place.is_some()
        };
        let answer = worker.call(&processes.recipe, bytes, &mut admit);
        self.fresh = false;
        if let Some(needed) = refused {
            return Err(NoRoom(needed));
        }
        answer.map_err(|failure| {
            if !failure.worker_lives() {
                self.worker = None;
            }
            Died(failure)
        })
    }
}

impl Processes {
    /// What the death of a decoder means for its image.
    fn undone(&self, failure: Failure) -> Undone {
        self.deaths.count(&failure);
        let text = with_causes(&failure);
        match failure {
            Failure::Crashed(_) => Undone::rejected(Reason::DecoderCrashed, text),
            Failure::Memory { .. } => Undone::rejected(Reason::DecodeLimit, text),
            Failure::Time(_) => {
                Undone::rejected(Reason::DecodeLimit, format!("{text} (--decode-time)"))
            }
            Failure::Panicked(_) => Undone::rejected(Reason::Internal, text),
            Failure::Killed(_) | Failure::Io(_) => Undone::Later(text),
        }
    }

    /// The answer, if it is one that fits what was asked for: a worker may have been taken over.
    fn read(&self, bytes: &[u8]) -> Result<Made, Undone> {
        let made = answer::decode(bytes);
        let values: usize = self.shape.iter().product();
        let fits = |made: &Made| {
            made.shape == self.shape && [values, 4 * values].contains(&made.pixels.len())
        };
        match made {
            Some(Ok(made)) if fits(&made) => Ok(made),
            Some(Err(rejection)) => Err(rejection.into()),
            _ => Err(Undone::rejected(
                Reason::DecoderCrashed,
                "the decoder's answer is not one",
            )),
        }
    }
}
