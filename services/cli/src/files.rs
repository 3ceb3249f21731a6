//! Lists the files that a path on the command line names.

use std::{
    io,
    path::{Path, PathBuf},
};
use walkdir::{DirEntry, WalkDir};

/// Adds all files that a path names: the path itself, or all files below it. Hidden files and folders and links to folders
/// are left out. A broken link is added, so that reading it reports the error.
///
/// # Errors
/// If the path or a folder below it can't be read.
pub(crate) fn walk(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in WalkDir::new(path)
        .into_iter()
        .filter_entry(|entry| !hidden(entry))
    {
        let entry = entry?;
        if !entry.path().is_dir() {
            files.push(entry.into_path());
        }
    }
    Ok(())
}

/// The path that the user names is never treated as hidden.
fn hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn hidden_files_and_links_to_folders_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("a/.hidden")).unwrap();
        for name in ["a/1.jpg", "a/.2.jpg", "a/.hidden/3.jpg", "4.jpg"] {
            fs::write(at(name), "").unwrap();
        }
        symlink(at("a"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling.jpg")).unwrap();
        let mut files = Vec::new();
        walk(root.path(), &mut files).unwrap();
        files.sort();
        assert_eq!(files, [at("4.jpg"), at("a/1.jpg"), at("dangling.jpg")]);
        let mut named = Vec::new();
        walk(&at("a/.2.jpg"), &mut named).unwrap();
        assert_eq!(named, [at("a/.2.jpg")]);
        assert!(walk(&at("nowhere"), &mut named).is_err());
    }
}
