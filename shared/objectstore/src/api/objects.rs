//! Put, get, head and delete of objects.

use super::{Api, answer, only_version, properties::properties};
use crate::{
    body::{Said, receive},
    event::Made,
    record::{Record, hex, timestamp},
    vault::{Conditions, Write, disk},
};
use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

const READ_BYTES: usize = 128 << 10;
/// The most objects that S3 deletes in one request.
const MAX_DELETED: usize = 1000;
/// The content type of objects that were stored without one, as in S3.
const UNKNOWN_CONTENT: &str = "binary/octet-stream";

impl Api {
    pub(super) async fn put(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let by = self.requester(&req);
        let input = req.input;
        check_key(&input.key)?;
        self.0.bucket(&input.bucket)?;
        let said = Said {
            headers: &req.headers,
            trailers: req.trailing_headers,
        };
        let received = receive(&self.0.folder, input.body, said).await?;
        let write = Write {
            bucket: input.bucket,
            key: input.key,
            content: received.draft,
            size: received.size,
            etag: hex(&received.md5),
            properties: properties!(input),
            made: Made::Put,
            by,
            conditions: Conditions {
                if_match: input.if_match,
                if_none_match: input.if_none_match,
            },
        };
        let record = self.0.place(write).await?;
        answer(PutObjectOutput {
            e_tag: Some(record.etag()),
            ..PutObjectOutput::default()
        })
    }

    pub(super) async fn get(&self, input: GetObjectInput) -> S3Result<S3Response<GetObjectOutput>> {
        only_version(input.version_id.as_deref())?;
        let (record, mut file) = self.0.open_object(&input.bucket, &input.key).await?;
        Wanted {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        }
        .check(&record)?;
        let (part, content_range) = part(input.range, record.size)?;
        if part.start > 0 {
            let start = std::io::SeekFrom::Start(part.start);
            file.seek(start).await.map_err(disk)?;
        }
        let length = part.end - part.start;
        let content = ReaderStream::with_capacity(file.take(length), READ_BYTES);
        let (e_tag, written) = (record.etag(), record.written());
        let properties = record.properties;
        answer(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::wrap(content)),
            content_length: i64::try_from(length).ok(),
            content_range,
            e_tag: Some(e_tag),
            last_modified: Some(written),
            content_type: input
                .response_content_type
                .or(content_type(properties.content_type)),
            content_encoding: input
                .response_content_encoding
                .or(properties.content_encoding),
            content_disposition: input
                .response_content_disposition
                .or(properties.content_disposition),
            content_language: input
                .response_content_language
                .or(properties.content_language),
            cache_control: input.response_cache_control.or(properties.cache_control),
            expires: properties.expires_ms.map(timestamp),
            metadata: Some(properties.metadata.into_iter().collect()),
            ..GetObjectOutput::default()
        })
    }

    pub(super) async fn head(
        &self,
        input: HeadObjectInput,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        only_version(input.version_id.as_deref())?;
        let record = self.0.record(&input.bucket, &input.key).await?;
        Wanted {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        }
        .check(&record)?;
        let (part, content_range) = part(input.range, record.size)?;
        let (e_tag, written) = (record.etag(), record.written());
        let properties = record.properties;
        answer(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(part.end - part.start).ok(),
            content_range,
            e_tag: Some(e_tag),
            last_modified: Some(written),
            content_type: content_type(properties.content_type),
            content_encoding: properties.content_encoding,
            content_disposition: properties.content_disposition,
            content_language: properties.content_language,
            cache_control: properties.cache_control,
            expires: properties.expires_ms.map(timestamp),
            metadata: Some(properties.metadata.into_iter().collect()),
            ..HeadObjectOutput::default()
        })
    }

    pub(super) async fn delete_all(
        &self,
        input: DeleteObjectsInput,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.0.bucket(&input.bucket)?;
        if input.delete.objects.len() > MAX_DELETED {
            return Err(s3_error!(
                MalformedXML,
                "one request deletes at most {MAX_DELETED} objects"
            ));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let version = only_version(object.version_id.as_deref());
            let done = match version {
                Ok(()) => self.0.delete(&input.bucket, &object.key).await,
                wrong => wrong,
            };
            match done {
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    ..DeletedObject::default()
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        let quiet = input.delete.quiet == Some(true);
        answer(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        })
    }
}

pub(super) fn check_key(key: &str) -> S3Result<()> {
    match key.len() {
        1..=1024 => Ok(()),
        0 => Err(s3_error!(InvalidArgument, "an object needs a key")),
        _ => Err(s3_error!(KeyTooLongError)),
    }
}

fn content_type(kept: Option<String>) -> Option<String> {
    Some(kept.unwrap_or_else(|| UNKNOWN_CONTENT.to_owned()))
}

/// The range of bytes asked for, and the response's `Content-Range`.
fn part(asked: Option<s3s::dto::Range>, size: u64) -> S3Result<(Range<u64>, Option<String>)> {
    let Some(asked) = asked else {
        return Ok((0..size, None));
    };
    let found = asked.check(size).map_err(|_| s3_error!(InvalidRange))?;
    let name = format!(
        "bytes {}-{}/{size}",
        found.start,
        found.end.saturating_sub(1)
    );
    Ok((found, Some(name)))
}

/// Conditions of reading, in the order of RFC 9110 §13.2.2.
struct Wanted {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl Wanted {
    fn check(&self, record: &Record) -> S3Result<()> {
        let fits = |condition: &ETagCondition| {
            condition.is_any()
                || condition
                    .as_etag()
                    .is_some_and(|etag| etag.value() == record.etag)
        };
        // HTTP dates have whole seconds.
        let written = timestamp(record.written_ms / 1000 * 1000);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !fits(condition) => return Err(s3_error!(PreconditionFailed)),
            (None, Some(since)) if written > *since => return Err(s3_error!(PreconditionFailed)),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if fits(condition) => Err(s3_error!(NotModified)),
            (None, Some(since)) if written <= *since => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }
}
