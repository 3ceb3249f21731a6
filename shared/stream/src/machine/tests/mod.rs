//! The machine against a model broker, under seeded schedules.

mod broker;
mod process;
mod simulation;
mod tasks;

use simulation::{Fault, run};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const SCHEDULES: u64 = 120_000;

/// The first seed, of those that were run, under which something breaks, and what.
fn first_failure(fault: Fault, schedules: u64) -> Option<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let found = AtomicBool::new(false);
    let search = |first: u64| {
        for seed in (first..schedules).step_by(threads as usize) {
            if found.load(Relaxed) {
                return None;
            }
            if let Err(what) = run(seed, fault) {
                found.store(true, Relaxed);
                return Some((seed, what));
            }
        }
        None
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || search(first)))
            .collect();
        let failures = workers.into_iter().filter_map(|w| w.join().unwrap());
        failures.min()
    })
}

#[test]
fn each_input_comes_out_once_and_in_order_under_every_schedule() {
    if let Ok(seed) = std::env::var("SIGHTLINE_SIMULATION_SEED") {
        run(seed.parse().unwrap(), Fault::None).unwrap();
        return;
    }
    if let Some((seed, what)) = first_failure(Fault::None, SCHEDULES) {
        panic!("{what}; again with SIGHTLINE_SIMULATION_SEED={seed}");
    }
}

#[test]
fn each_planted_fault_is_found() {
    for fault in [
        Fault::AutoCommit,
        Fault::OffsetsOutside,
        Fault::NoEpochCheck,
        Fault::OffByOne,
        Fault::SeekFromMemory,
        Fault::CountsCleanEnds,
        Fault::CountsRecoveries,
        Fault::ForgetsDeaths,
        Fault::MarksLate,
        Fault::MarksWhileWaiting,
    ] {
        let found = first_failure(fault, SCHEDULES);
        assert!(found.is_some(), "{fault:?} was not noticed");
    }
}
