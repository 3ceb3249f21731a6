//! What is to be classified: each file and object once, under a key of its own.

use crate::{embedded::BUCKET, files};
use anyhow::{Context, bail};
use futures::TryStreamExt;
use sightline_storage::{Location, Objects};
use std::{
    collections::HashSet,
    path::{Component, Path, PathBuf},
};

/// One image, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// As the user named it.
    pub name: String,
    /// Its key in the embedded store.
    pub key: String,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    Object(Location),
}

impl Input {
    /// The key of its records in every topic.
    pub fn record_key(&self) -> String {
        format!("{BUCKET}/{}", self.key)
    }
}

/// Lists what the arguments name: a file as itself, a folder as every file in it that isn't hidden, an `s3://` prefix
/// as every object below it. Sorted within each argument.
pub async fn collect(arguments: &[String], store: &impl Objects) -> anyhow::Result<Vec<Input>> {
    let mut found = Found::default();
    for argument in arguments {
        if argument.starts_with("s3://") {
            let Some(Location {
                bucket,
                key: prefix,
            }) = Location::parse(argument)
            else {
                bail!("{argument} is not s3://bucket/prefix");
            };
            let entries: Vec<_> = store.list(&bucket, &prefix).try_collect().await?;
            for entry in entries
                .into_iter()
                .filter(|entry| !entry.key.ends_with('/'))
            {
                found.add(Origin::Object(Location::new(bucket.clone(), entry.key)));
            }
        } else {
            let mut files = Vec::new();
            files::walk(Path::new(argument), &mut files)
                .with_context(|| format!("can't read {argument}"))?;
            files.sort();
            files
                .into_iter()
                .for_each(|file| found.add(Origin::File(file)));
        }
    }
    Ok(found.inputs)
}

#[derive(Default)]
struct Found {
    inputs: Vec<Input>,
    origins: HashSet<String>,
    keys: HashSet<String>,
}

impl Found {
    fn add(&mut self, origin: Origin) {
        let (name, wish) = match &origin {
            Origin::File(path) => (path.display().to_string(), key_of(path)),
            Origin::Object(location) => (
                location.to_string(),
                format!("{}/{}", location.bucket, location.key),
            ),
        };
        if !self.origins.insert(name.clone()) {
            return;
        }
        let mut key = wish.clone();
        let mut others = 1;
        while !self.keys.insert(key.clone()) {
            others += 1;
            key = format!("{others}/{wish}");
        }
        self.inputs.push(Input { name, key, origin });
    }
}

/// The path without what is not a name: `../a//./b.jpg` is `a/b.jpg`. Control characters, which S3 keys may not bring
/// into logs, are replaced.
fn key_of(path: &Path) -> String {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().replace(char::is_control, "_")),
        _ => None,
    });
    names.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sightline_storage::Memory;
    use std::fs;

    #[tokio::test]
    async fn every_file_and_object_once_under_a_key_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("deep/er")).unwrap();
        for name in ["b.jpg", "deep/er/a.jpg", ".hidden", "notes.txt"] {
            fs::write(at(name), "x").unwrap();
        }
        let store = Memory::new();
        store.create_bucket("photos").await.unwrap();
        store
            .put("photos", "in/1.jpg", Bytes::new(), "")
            .await
            .unwrap();
        store
            .put("photos", "out/1.jpg", Bytes::new(), "")
            .await
            .unwrap();
        let folder = folder.path().display().to_string();
        let arguments = [
            folder.clone(),
            format!("{folder}/b.jpg"),
            "s3://photos/in/".to_owned(),
        ];
        let inputs = collect(&arguments, &store).await.unwrap();
        let names: Vec<_> = inputs
            .iter()
            .map(|input| input.name.strip_prefix(&folder).unwrap_or(&input.name))
            .collect();
        assert_eq!(
            names,
            [
                "/b.jpg",
                "/deep/er/a.jpg",
                "/notes.txt",
                "s3://photos/in/1.jpg"
            ]
        );
    }

    #[test]
    fn keys_have_no_dots_and_do_not_collide() {
        let mut found = Found::default();
        for path in ["../a.jpg", "./a.jpg", "/a.jpg"] {
            found.add(Origin::File(path.into()));
        }
        let keys: Vec<_> = found
            .inputs
            .iter()
            .map(|input| input.key.as_str())
            .collect();
        assert_eq!(keys, ["a.jpg", "2/a.jpg", "3/a.jpg"]);
    }

    #[tokio::test]
    async fn a_path_that_is_not_there_is_named() {
        let error = collect(&["/does/not/exist".to_owned()], &Memory::new())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("/does/not/exist"));
    }
}
