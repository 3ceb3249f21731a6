//! Rules that the kernel checks at each system call: Landlock for files and sockets, seccomp for the calls themselves.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};
use std::{collections::BTreeMap, env::consts::ARCH, error::Error};

/// The newest version of Landlock that is asked for; an older kernel enforces what it supports.
const LANDLOCK: ABI = ABI::V6;

/// Closes the file system, TCP and signals to others. Says what the kernel lacks.
pub(crate) fn close_file_system() -> Option<String> {
    let restrict = || -> Result<RulesetStatus, landlock::RulesetError> {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?;
        Ok(ruleset.restrict_self()?.ruleset)
    };
    match restrict() {
        // Partially on an older kernel, which has no rules for TCP or signals; seccomp denies these, too.
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => None,
        Ok(RulesetStatus::NotEnforced) => {
            Some("Landlock (Linux 5.13, CONFIG_SECURITY_LANDLOCK)".to_owned())
        }
        Err(error) => Some(format!("Landlock ({error})")),
    }
}

/// From here on the process may read and write what it has open, take memory, look at the clock and end. Says what the
/// kernel lacks.
pub(crate) fn allow_computing_only() -> Option<String> {
    let apply = || -> Result<(), Box<dyn Error>> {
        apply_filter(&filter()?)?;
        Ok(())
    };
    let lacking = apply().err()?;
    Some(format!("seccomp ({lacking})"))
}

/// Allows the calls of [`computing`], and some others with certain arguments. Any other ends the process with SIGSYS.
fn filter() -> Result<BpfProgram, Box<dyn Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        computing().iter().map(|&call| (call, Vec::new())).collect();
    let executable = libc::PROT_EXEC as u64;
    let condition = |argument, is, value| SeccompCondition::new(argument, Width::Dword, is, value);
    // Memory of its own, in which nothing can be run.
    rules.insert(
        libc::SYS_mmap,
        vec![SeccompRule::new(vec![
            condition(2, Is::MaskedEq(executable), 0)?,
            condition(4, Is::Eq, u64::from(u32::MAX))?,
        ])?],
    );
    rules.insert(
        libc::SYS_mprotect,
        vec![SeccompRule::new(vec![condition(
            2,
            Is::MaskedEq(executable),
            0,
        )?])?],
    );
    // A signal to itself: how a process aborts.
    let own = u64::from(std::process::id());
    rules.insert(
        libc::SYS_tgkill,
        vec![SeccompRule::new(vec![condition(0, Is::Eq, own)?])?],
    );
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::try_from(ARCH)?,
    )?;
    Ok(BpfProgram::try_from(filter)?)
}

/// Calls that are allowed whatever their arguments.
fn computing() -> &'static [i64] {
    &[
        // The socket, and words on stderr.
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_recvfrom,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        // Memory.
        libc::SYS_brk,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        // The clock, random numbers, locks.
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        // The end of the process, and signals that it handles.
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
    ]
}
