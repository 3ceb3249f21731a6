//! Decoding in processes of their own: whatever an image does to one of them, the service and the other images go on.

use super::{ALLOWANCE, Asked, Decode, Decoders, Room, Undone, answer};
use crate::{
    metrics::{Deaths, PictureMetrics},
    recipe::{Made, Recipe},
    settings::ImageSettings,
};
use anyhow::Context as _;
use bytes::Bytes;
use sightline_contracts::Reason;
use sightline_sandbox::{Failure, Job, Limits, Program, Spawner, Worker, serve_if_asked};
use sightline_stream::{Clock, Rejection, with_causes};
use std::{process::ExitCode, sync::Arc};

/// Where this process was started to decode for a service: does so until the service is gone. The first line of the
/// `main` of every program that runs this service.
pub fn decode_if_asked() -> Option<ExitCode> {
    serve_if_asked(job())
}

/// The head of a request is the recipe, the body the image.
fn job() -> impl Job<Bytes> {
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
            processes: self,
            worker: None,
        })
    }
}

/// One thread's process.
struct InProcess {
    processes: Arc<Processes>,
    /// None before the first image, and after one that the process died of.
    worker: Option<Worker>,
}

impl Decode for InProcess {
    fn decode(&mut self, bytes: &[u8], clock: &Clock) -> Result<Made, Undone> {
        loop {
            match self.once(bytes, clock)? {
                // What the allocator kept of earlier images may have been in this one's way.
                Err(Died {
                    of: Failure::Memory { .. },
                    fresh: false,
                }) => {}
                Err(died) => return Err(self.processes.undone(died.of)),
                Ok(answer) => return self.processes.read(answer.into()),
            }
        }
    }
}

/// A process gave no answer.
struct Died {
    of: Failure,
    /// It had worked on no image before.
    fresh: bool,
}

impl InProcess {
    fn once(&mut self, bytes: &[u8], clock: &Clock) -> Result<Result<Vec<u8>, Died>, Undone> {
        let processes = &self.processes;
        let (mut worker, fresh) = match self.worker.take() {
            Some(worker) => (worker, false),
            None => (processes.worker()?, true),
        };
        let mut asked = Asked::of(&processes.room, clock);
        let answer = worker.call(&processes.recipe, bytes, &mut |needed| asked.ask(needed));
        let lives = match &answer {
            Ok(_) => true,
            Err(failure) => failure.worker_lives(),
        };
        self.worker = lives.then_some(worker);
        match asked.refused() {
            Some(undone) => Err(undone),
            None => Ok(answer.map_err(|of| Died { of, fresh })),
        }
    }
}

impl Processes {
    fn worker(&self) -> Result<Worker, Undone> {
        let failed = |error| Undone::Later(format!("can't start a process to decode in: {error}"));
        self.spawner.take().map_err(failed)
    }

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
    fn read(&self, answer: Bytes) -> Result<Made, Undone> {
        let made = answer::decode(answer);
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
