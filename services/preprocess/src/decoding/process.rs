//! Decoding in separate processes. If an image crashes a process, the service and the other images are not affected.

use super::{ALLOWANCE, Asked, Budget, Decode, Decoders, Undone, answer};
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

/// Decodes until the service ends, if this process was started as a decoder; else returns `None` at once. Every program
/// that runs this service calls it first in its `main`.
pub fn decode_if_asked() -> Option<ExitCode> {
    serve_if_asked(job())
}

/// What a decoder does: the head of a request is the recipe as JSON, the body is the image.
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

/// What all decoder processes share.
pub(crate) struct Processes {
    spawner: Spawner,
    /// As JSON, for the requests.
    recipe: Vec<u8>,
    shape: [usize; 3],
    budget: Arc<Budget>,
    deaths: Deaths,
}

/// Starts a first process, to check that it is possible.
pub(crate) fn start(
    settings: &ImageSettings,
    recipe: &Recipe,
    budget: Arc<Budget>,
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
        budget,
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

/// The decoder of one thread: a process.
struct InProcess {
    processes: Arc<Processes>,
    /// `None` before the first image, and after an image that ended the process.
    worker: Option<Worker>,
}

impl Decode for InProcess {
    fn decode(&mut self, bytes: &[u8], clock: &Clock) -> Result<Made, Undone> {
        loop {
            match self.once(bytes, clock)? {
                // The allocator may have kept memory of earlier images: try once more in a fresh process.
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

/// A process that ended without an answer.
struct Died {
    of: Failure,
    /// Whether this was its first image.
    fresh: bool,
}

impl InProcess {
    fn once(&mut self, bytes: &[u8], clock: &Clock) -> Result<Result<Vec<u8>, Died>, Undone> {
        let processes = &self.processes;
        let (mut worker, fresh) = match self.worker.take() {
            Some(worker) => (worker, false),
            None => (processes.worker()?, true),
        };
        let mut asked = Asked::of(&processes.budget, clock);
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

    /// What happens to the image whose decoder died.
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

    /// Reads an answer and checks its shape and length, because a hostile image may control the process.
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
