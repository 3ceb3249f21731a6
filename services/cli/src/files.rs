//! Files that arguments name.

use std::{
    io,
    path::{Path, PathBuf},
};
use walkdir::{DirEntry, WalkDir};

/// All files that a path names: itself, or those below it. Left out are what is hidden, with all that is below it, and links
/// to folders; a link that leads nowhere is a file that can't be read.
///
/// # Errors
/// Where the path, or a folder below it, can't be read.
pub fn walk(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
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

/// What the user names is never hidden.
fn hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn what_is_hidden_and_links_to_folders_are_left_out() {
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
