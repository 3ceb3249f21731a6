//! Multipart uploads: each is a folder until it is completed or aborted.

use crate::{
    body::Received,
    folder::{Draft, Folder, read},
    record::{Properties, hex, millis},
    vault::disk,
};
use s3s::{
    S3Error, S3Result,
    crypto::{Checksum, Md5},
    dto::CompletedPart,
    s3_error,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::SystemTime,
};
use tokio::fs;
use uuid::Uuid;

/// The least size of every part but the last, as with AWS.
const LEAST_PART_BYTES: u64 = 5 << 20;
const MAX_PARTS: i32 = 10_000;

/// The object that an upload will make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub bucket: String,
    pub key: String,
    pub begun_ms: i64,
    pub properties: Properties,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    pub number: i32,
    pub size: u64,
    /// MD5, in hexadecimal.
    pub etag: String,
    pub written_ms: i64,
    /// The file of the content. A part that was sent again under the same number has another.
    file: String,
}

/// An upload that exists and belongs to the bucket and key of the request.
pub(crate) struct Parts<'a> {
    folder: &'a Folder,
    place: PathBuf,
    pub upload: Upload,
}

/// Begins an upload, and returns its id.
pub(crate) async fn begin(folder: &Folder, upload: &Upload) -> S3Result<String> {
    let id = Uuid::new_v4().simple().to_string();
    let place = folder.uploads().join(&id);
    fs::create_dir(&place).await.map_err(disk)?;
    folder
        .write(&place.join("upload.json"), upload)
        .await
        .map_err(disk)?;
    folder.settle(&folder.uploads()).await.map_err(disk)?;
    Ok(id)
}

/// Checks a part's number, before its content is received.
pub(crate) fn check_number(number: i32) -> S3Result<()> {
    if (1..=MAX_PARTS).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(
        InvalidArgument,
        "parts have numbers from 1 to {MAX_PARTS}"
    ))
}

/// The uploads begun in a bucket, by key and id.
pub(crate) async fn begun(
    folder: &Folder,
    bucket: &str,
) -> io::Result<BTreeMap<(String, String), Upload>> {
    let mut found = BTreeMap::new();
    let mut places = fs::read_dir(folder.uploads()).await?;
    while let Some(place) = places.next_entry().await? {
        let upload: Option<Upload> = read(&place.path().join("upload.json")).await?;
        if let Some(upload) = upload.filter(|upload| upload.bucket == bucket) {
            let id = place.file_name().to_string_lossy().into_owned();
            found.insert((upload.key.clone(), id), upload);
        }
    }
    Ok(found)
}

impl<'a> Parts<'a> {
    pub async fn of(folder: &'a Folder, bucket: &str, key: &str, id: &str) -> S3Result<Self> {
        let unknown = || s3_error!(NoSuchUpload, "no such upload of {key:?}");
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let place = folder.uploads().join(id);
        let upload: Option<Upload> = read(&place.join("upload.json")).await.map_err(disk)?;
        let upload = upload.filter(|upload| upload.bucket == bucket && upload.key == key);
        Ok(Self {
            folder,
            place,
            upload: upload.ok_or_else(unknown)?,
        })
    }

    /// `number` is one that [`check_number`] lets pass.
    pub async fn add(&self, number: i32, received: Received) -> S3Result<Part> {
        let part = Part {
            number,
            size: received.size,
            etag: hex(&received.md5),
            written_ms: millis(SystemTime::now()),
            file: format!("{number:05}-{}.part", Uuid::new_v4().simple()),
        };
        let content = self.place.join(&part.file);
        self.folder
            .keep(received.draft, &content)
            .await
            .map_err(gone)?;
        let about = self.place.join(format!("{number:05}.json"));
        let old: Option<Part> = read(&about).await.map_err(disk)?;
        self.folder.write(&about, &part).await.map_err(gone)?;
        if let Some(old) = old {
            self.folder
                .remove(&self.place.join(old.file))
                .await
                .map_err(gone)?;
        }
        Ok(part)
    }

    /// By number.
    pub async fn list(&self) -> S3Result<BTreeMap<i32, Part>> {
        let mut parts = BTreeMap::new();
        let mut files = fs::read_dir(&self.place).await.map_err(gone)?;
        while let Some(file) = files.next_entry().await.map_err(gone)? {
            let path = file.path();
            let about_part = path.extension() == Some(OsStr::new("json"))
                && path.file_stem() != Some(OsStr::new("upload"));
            if about_part && let Some(part) = read::<Part>(&path).await.map_err(gone)? {
                parts.insert(part.number, part);
            }
        }
        Ok(parts)
    }

    /// Joins the parts that the client names into one draft. Returns it with its size and its etag, which S3 defines.
    pub async fn join(&self, named: Vec<CompletedPart>) -> S3Result<(Draft, u64, String)> {
        let parts = self.choose(&named).await?;
        let mut md5 = Md5::new();
        for part in &parts {
            md5.update(&unhex(&part.etag));
        }
        let etag = format!("{}-{}", hex(&md5.finalize()), parts.len());
        let files: Vec<_> = parts
            .iter()
            .map(|part| self.place.join(&part.file))
            .collect();
        let (draft, whole) = self.folder.draft().await.map_err(disk)?;
        let mut target = whole.into_std().await;
        let joined = tokio::task::spawn_blocking(move || {
            let mut size = 0;
            for file in files {
                size += io::copy(&mut std::fs::File::open(file)?, &mut target)?;
            }
            Ok::<_, io::Error>((size, target))
        });
        let (size, whole) = joined
            .await
            .map_err(S3Error::internal_error)?
            .map_err(gone)?;
        let whole = fs::File::from_std(whole);
        self.folder.finish(whole).await.map_err(disk)?;
        Ok((draft, size, etag))
    }

    async fn choose(&self, named: &[CompletedPart]) -> S3Result<Vec<Part>> {
        let there = self.list().await?;
        let mut chosen: Vec<Part> = Vec::with_capacity(named.len());
        for name in named {
            let number = name.part_number.unwrap_or(0);
            if chosen.last().is_some_and(|last| last.number >= number) {
                return Err(s3_error!(InvalidPartOrder));
            }
            let part = there.get(&number);
            let part = part.filter(|part| {
                name.e_tag
                    .as_ref()
                    .is_none_or(|etag| etag.value() == part.etag)
            });
            let part = part.ok_or_else(|| {
                s3_error!(InvalidPart, "part {number} is not there or is another")
            })?;
            if chosen
                .last()
                .is_some_and(|last| last.size < LEAST_PART_BYTES)
            {
                return Err(s3_error!(
                    EntityTooSmall,
                    "only the last part may be smaller than 5 MiB"
                ));
            }
            chosen.push(part.clone());
        }
        if chosen.is_empty() {
            return Err(s3_error!(InvalidPart, "an upload has one part at least"));
        }
        Ok(chosen)
    }

    /// Removes the upload, aborted or completed.
    pub async fn end(self) -> S3Result<()> {
        match remove(self.folder, &self.place).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(disk(error)),
            _ => Ok(()),
        }
    }
}

/// Removes an upload's folder, or what is left of it.
pub(crate) async fn remove(folder: &Folder, place: &Path) -> io::Result<()> {
    // First the file that makes it an upload, so that a crash leaves nothing that looks like one.
    folder.remove(&place.join("upload.json")).await?;
    fs::remove_dir_all(place).await
}

/// The error of an operation on an upload's files. If a file is gone, another request has ended the upload.
fn gone(error: io::Error) -> S3Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::AlreadyExists => s3_error!(NoSuchUpload),
        _ => disk(error),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16)?.try_into().ok())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[pair.len() - 1])
        .collect()
}
