//! Downloads and builds of the servers' programs, kept in a cache folder.

use anyhow::{Context as _, Result, bail, ensure};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A folder in the cache, `$XDG_CACHE_HOME/sightline` or else `~/.cache/sightline`. It may not exist yet.
///
/// # Errors
/// Neither `XDG_CACHE_HOME` nor `HOME` is set.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
    let caches = match set("XDG_CACHE_HOME") {
        Some(caches) => PathBuf::from(caches),
        None => PathBuf::from(set("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(caches.join("sightline").join(name))
}

/// Whether `PATH` has the program.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Makes sure that `PATH` has the program: as root on Debian, installs its package if it is missing.
///
/// # Errors
/// The program is missing and can't be installed.
pub(crate) fn need(program: &str, debian_package: &str) -> Result<()> {
    if has(program) {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() || !has("apt-get") {
        bail!("needs '{program}' (Debian: apt-get install {debian_package})");
    }
    eprintln!("testbed: installing {debian_package}");
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .arg(debian_package)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Runs a command to its end; what it prints goes to standard error.
///
/// # Errors
/// The command can't be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status();
    let status = status.with_context(|| format!("can't start {program}"))?;
    ensure!(status.success(), "{program} failed ({status})");
    Ok(())
}

/// Builds a program from the Go module proxy into `folder`, if it is not there yet. Returns its path.
///
/// # Errors
/// There is no Go, or the program doesn't build.
pub(crate) fn go_program(
    package: &str,
    version: &str,
    folder: &Path,
    takes: &str,
) -> Result<PathBuf> {
    let name = package.rsplit('/').next().unwrap_or(package);
    let program = folder.join(name);
    if !program.is_file() {
        ensure!(has("go"), "needs 'go'");
        eprintln!("{name}: building version {version}, {takes} or so");
        std::fs::create_dir_all(folder)?;
        run(Command::new("go")
            .args(["install", &format!("{package}@{version}")])
            .env("GOBIN", folder))?;
    }
    Ok(program)
}
