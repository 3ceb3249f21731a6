//! The process's place among those that share its cores.

/// From now on the threads that this one starts, those of libraries included, do not interrupt who has the core when
/// they are woken (`SCHED_BATCH`, [sched(7)]); their share of it stays the same. To be called in `main`,
/// before the runtime starts, when a failure can be logged.
///
/// A broker wakes the reader of a fetch response for every 64 KiB that it writes. Where both share a core, a reader
/// that is let in at once finds only these; a little later it finds several, and the core changes hands less often.
///
/// A process that was given a policy or a niceness keeps them. On other systems than Linux nothing is done.
///
/// [sched(7)]: https://man7.org/linux/man-pages/man7/sched.7.html
pub fn batch() {
    #[cfg(target_os = "linux")]
    if linux::ordinary()
        && let Err(error) = linux::batch()
    {
        tracing::debug!(%error, "can't be scheduled in batches");
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use procfs::{FromRead as _, ProcResult, process::Stat};
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };

    const SCHED_OTHER: u32 = 0;
    /// A niceness of 0, as 0 to 99 stand for 19 to -20 here.
    const NOT_NICE: u8 = 48;

    /// The policy and the niceness of the thread that asks.
    pub fn own() -> ProcResult<(Option<u32>, i64)> {
        let stat = Stat::from_file("/proc/thread-self/stat")?;
        Ok((stat.policy, stat.nice))
    }

    /// Nobody has given the process a policy or a niceness.
    pub fn ordinary() -> bool {
        own().is_ok_and(|own| own == (Some(SCHED_OTHER), 0))
    }

    pub fn batch() -> Result<(), String> {
        let not_nice = NOT_NICE.try_into()?;
        set_thread_priority_and_policy(
            thread_native_id(),
            ThreadPriority::Crossplatform(not_nice),
            ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch),
        )
        .map_err(|error| error.to_string())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::linux::{self, own};
    use std::thread;

    #[test]
    fn threads_started_later_are_scheduled_in_batches_at_the_same_niceness() {
        const SCHED_BATCH: u32 = 3;
        let before = own().unwrap();
        let expected = match linux::ordinary() {
            true => (Some(SCHED_BATCH), 0),
            false => before,
        };
        let started = thread::spawn(|| {
            super::batch();
            thread::spawn(|| own().unwrap()).join().unwrap()
        });
        assert_eq!(started.join().unwrap(), expected);
    }
}
