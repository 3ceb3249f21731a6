//! Removes abandoned multipart uploads, so that they don't fill the disk.
//!
//! An upload is abandoned if nothing was added to its folder for the configured time. The folder's time of modification
//! says when that was, because every complete part is moved into the folder. What a crash left of an upload that was
//! just
//! begun, or half removed, therefore expires, too.

use crate::{folder::Folder, multipart};
use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};
use tokio::fs;

/// The time between two sweeps.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Sweeps every hour until dropped.
pub(crate) async fn hourly(folder: &Folder, after: Duration, now: impl Fn() -> SystemTime) {
    loop {
        tokio::time::sleep(EVERY).await;
        sweep(folder, after, now()).await;
    }
}

/// Removes the uploads that nothing was added to for longer than `after`. What can't be removed is logged, and tried
/// again with the next sweep.
pub(crate) async fn sweep(folder: &Folder, after: Duration, now: SystemTime) {
    let abandoned = match abandoned(folder, after, now).await {
        Ok(abandoned) => abandoned,
        Err(error) => {
            tracing::warn!(%error, "can't look for abandoned uploads; trying again in an hour");
            return;
        }
    };
    for place in abandoned {
        match multipart::remove(folder, &place).await {
            Ok(()) => tracing::info!(upload = %place.display(), "removed an abandoned upload"),
            // A client completed or aborted it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(upload = %place.display(), %error, "can't remove an abandoned upload");
            }
        }
    }
}

async fn abandoned(folder: &Folder, after: Duration, now: SystemTime) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut places = fs::read_dir(folder.uploads()).await?;
    while let Some(place) = places.next_entry().await? {
        let about = match place.metadata().await {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // If the clock was set back, the upload is kept longer.
        let idle = now.duration_since(about.modified()?).unwrap_or_default();
        if about.is_dir() && idle > after {
            found.push(place.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[tokio::test(start_paused = true)]
    async fn an_upload_abandoned_while_the_store_runs_expires() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path(), false).unwrap();
        let upload = folder.uploads().join("id");
        std::fs::create_dir(&upload).unwrap();
        std::fs::write(upload.join("upload.json"), "{}").unwrap();
        std::fs::write(folder.uploads().join("a file"), "not an upload").unwrap();
        let begun = SystemTime::now();
        let start = tokio::time::Instant::now();
        // The clock follows tokio's paused clock, which jumps to the next timer.
        let looks = hourly(&folder, DAY, || begun + start.elapsed());
        let hour = Duration::from_secs(60 * 60);
        let watched = tokio::time::timeout(25 * hour, looks);
        let minute = Duration::from_secs(60);
        let (_, there_before) = tokio::join!(watched, async {
            tokio::time::sleep(DAY - minute).await;
            upload.exists()
        });
        assert!(there_before, "not before its day is over");
        assert!(!upload.exists());
        assert!(folder.uploads().join("a file").exists());
    }

    #[tokio::test]
    async fn a_clock_set_back_removes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path(), false).unwrap();
        let upload = folder.uploads().join("id");
        std::fs::create_dir(&upload).unwrap();
        sweep(&folder, DAY, SystemTime::now() - 2 * DAY).await;
        assert!(upload.exists());
        sweep(&folder, DAY, SystemTime::now() + 2 * DAY).await;
        assert!(!upload.exists());
    }
}
