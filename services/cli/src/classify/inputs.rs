//! Lists the images to classify. Each file and object is listed once, with a unique key.

use crate::{embedded::BUCKET, files};
use anyhow::{Context, bail};
use futures::TryStreamExt;
use sightline_storage::{Location, Objects};
use std::{
    collections::HashSet,
    path::{Component, Path, PathBuf},
};

/// One image to classify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// As the user named it.
    pub(crate) name: String,
    /// Its key in the embedded store.
    pub(crate) key: String,
    pub(crate) origin: Origin,
}

/// Where an image is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    Object(Location),
}

impl Input {
    /// The key of the image's records in every topic.
    pub(crate) fn record_key(&self) -> String {
        format!("{BUCKET}/{}", self.key)
    }
}

/// Lists the images that the arguments name: a file, all files in a folder that aren't hidden, or all objects below an
/// `s3://` prefix. They are sorted within each argument.
pub(crate) async fn collect(
    arguments: &[String],
    store: &impl Objects,
) -> anyhow::Result<Vec<Input>> {
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

/// The path's names only: `../a//./b.jpg` becomes `a/b.jpg`. Control characters are replaced, because ingest rejects keys
/// that contain them.
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
    async fn every_file_and_object_is_listed_once() {
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
    fn keys_contain_names_only_and_are_unique() {
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
    async fn a_missing_path_is_named_in_the_error() {
        let error = collect(&["/does/not/exist".to_owned()], &Memory::new())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("/does/not/exist"));
    }
}
