//! Copies within the store.

use super::{Api, answer, objects::check_key, only_version, properties::properties};
use crate::{
    body::{Received, Said, receive},
    event::Made,
    multipart::check_number,
    record::{Record, hex, timestamp},
    vault::{Conditions, Write, disk},
};
use http::HeaderMap;
use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

const READ_BYTES: usize = 256 << 10;

impl Api {
    pub(super) async fn copy(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let by = self.requester(&req);
        let input = req.input;
        check_key(&input.key)?;
        self.0.bucket(&input.bucket)?;
        let (source, received) = self.copied(&input.copy_source, None).await?;
        let matches = |condition: &ETagCondition| {
            condition.is_any()
                || condition
                    .as_etag()
                    .is_some_and(|etag| etag.value() == source.etag)
        };
        let fits = input.copy_source_if_match.as_ref().is_none_or(matches);
        let forbidden = input
            .copy_source_if_none_match
            .as_ref()
            .is_some_and(matches);
        if !fits || forbidden {
            return Err(s3_error!(PreconditionFailed, "the source is another"));
        }
        let replace = input.metadata_directive.as_ref();
        let replace = replace.is_some_and(|word| word.as_str() == MetadataDirective::REPLACE);
        let properties = if replace {
            properties!(input)
        } else {
            source.properties
        };
        let write = Write {
            bucket: input.bucket,
            key: input.key,
            content: received.draft,
            size: received.size,
            etag: hex(&received.md5),
            properties,
            made: Made::Copy,
            by,
            conditions: Conditions::default(),
        };
        let record = self.0.place(write).await?;
        answer(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(record.etag()),
                last_modified: Some(record.written()),
                ..CopyObjectResult::default()
            }),
            ..CopyObjectOutput::default()
        })
    }

    pub(super) async fn copy_part(
        &self,
        input: UploadPartCopyInput,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        check_number(input.part_number)?;
        let parts = self
            .upload(&input.bucket, &input.key, &input.upload_id)
            .await?;
        let range = input.copy_source_range.as_deref();
        let (_, received) = self.copied(&input.copy_source, range).await?;
        let part = parts.add(input.part_number, received).await?;
        answer(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(ETag::Strong(part.etag)),
                last_modified: Some(timestamp(part.written_ms)),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        })
    }

    /// Copies the source's content, or a range of it, to a new draft.
    async fn copied(
        &self,
        source: &CopySource,
        range: Option<&str>,
    ) -> S3Result<(Record, Received)> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id,
        } = source
        else {
            return Err(s3_error!(
                NotImplemented,
                "only objects of this store are copied"
            ));
        };
        only_version(version_id.as_deref())?;
        let (record, mut file) = self.0.open_object(bucket, key).await?;
        let mut length = record.size;
        if let Some(range) = range {
            let range =
                Range::parse(range).map_err(|_| s3_error!(InvalidArgument, "not a range"))?;
            let part = range
                .check(record.size)
                .map_err(|_| s3_error!(InvalidRange))?;
            let start = std::io::SeekFrom::Start(part.start);
            file.seek(start).await.map_err(disk)?;
            length = part.end - part.start;
        }
        let content = ReaderStream::with_capacity(file.take(length), READ_BYTES);
        let nothing = HeaderMap::new();
        let said = Said {
            headers: &nothing,
            trailers: None,
        };
        let received = receive(&self.0.folder, Some(StreamingBlob::wrap(content)), said).await?;
        Ok((record, received))
    }
}
