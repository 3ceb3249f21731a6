//! Files that arguments name.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// All files that a path names: itself, or those below it that aren't hidden.
pub fn walk(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // A link that leads nowhere is reported as a file that can't be read; one to a folder is not followed.
        let link_to_folder = entry.file_type()?.is_symlink() && entry.path().is_dir();
        if !hidden && !link_to_folder {
            match entry.file_type()?.is_dir() {
                true => walk(&entry.path(), files)?,
                false => files.push(entry.path()),
            }
        }
    }
    Ok(())
}
