//! Multipart uploads.

use super::{Api, answer, objects::check_key, properties::properties};
use crate::{
    body::{Said, receive},
    event::Made,
    multipart::{self, Parts, Upload},
    record::{millis, timestamp},
    vault::{Conditions, Write, disk},
};
use s3s::{S3Request, S3Response, S3Result, dto::*};
use std::time::SystemTime;

const MAX_LISTED: i32 = 1000;

impl Api {
    pub(super) async fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<Parts<'_>> {
        self.0.bucket(bucket)?;
        Parts::of(&self.0.folder, bucket, key, id).await
    }

    pub(super) async fn begin_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        check_key(&input.key)?;
        self.0.bucket(&input.bucket)?;
        let upload = Upload {
            bucket: input.bucket,
            key: input.key,
            begun_ms: millis(SystemTime::now()),
            properties: properties!(input),
        };
        let id = multipart::begin(&self.0.folder, &upload).await?;
        answer(CreateMultipartUploadOutput {
            bucket: Some(upload.bucket),
            key: Some(upload.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(super) async fn add_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        multipart::check_number(input.part_number)?;
        let parts = self
            .upload(&input.bucket, &input.key, &input.upload_id)
            .await?;
        let said = Said {
            headers: &req.headers,
            trailers: req.trailing_headers,
        };
        let received = receive(&self.0.folder, input.body, said).await?;
        let part = parts.add(input.part_number, received).await?;
        answer(UploadPartOutput {
            e_tag: Some(ETag::Strong(part.etag)),
            ..UploadPartOutput::default()
        })
    }

    pub(super) async fn parts(
        &self,
        input: ListPartsInput,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let parts = self
            .upload(&input.bucket, &input.key, &input.upload_id)
            .await?;
        let after = input.part_number_marker.unwrap_or(0);
        let limit = input.max_parts.unwrap_or(MAX_LISTED).clamp(0, MAX_LISTED);
        let there = parts.list().await?;
        let mut rest = there.range(after.saturating_add(1)..).map(|(_, part)| part);
        let listed: Vec<_> = rest
            .by_ref()
            .take(usize::try_from(limit).unwrap_or(0))
            .collect();
        let listed: Vec<Part> = listed.into_iter().map(described).collect();
        answer(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(limit),
            part_number_marker: Some(after),
            is_truncated: Some(limit > 0 && rest.next().is_some()),
            next_part_number_marker: listed.last().and_then(|part| part.part_number),
            parts: Some(listed),
            ..ListPartsOutput::default()
        })
    }

    /// All at once: abandoned uploads are few.
    pub(super) async fn uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.0.bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let begun = multipart::begun(&self.0.folder, &input.bucket)
            .await
            .map_err(disk)?;
        let uploads = begun
            .into_iter()
            .filter(|((key, _), _)| key.starts_with(&prefix));
        let uploads = uploads.map(|((key, id), upload)| MultipartUpload {
            key: Some(key),
            upload_id: Some(id),
            initiated: Some(timestamp(upload.begun_ms)),
            ..MultipartUpload::default()
        });
        answer(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            is_truncated: Some(false),
            uploads: Some(uploads.collect()),
            ..ListMultipartUploadsOutput::default()
        })
    }

    pub(super) async fn complete(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let by = self.requester(&req);
        let input = req.input;
        let parts = self
            .upload(&input.bucket, &input.key, &input.upload_id)
            .await?;
        let named = input.multipart_upload.and_then(|named| named.parts);
        let (content, size, etag) = parts.join(named.unwrap_or_default()).await?;
        let write = Write {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            content,
            size,
            etag,
            properties: parts.upload.properties.clone(),
            made: Made::CompleteMultipartUpload,
            by,
            conditions: Conditions {
                if_match: input.if_match,
                if_none_match: input.if_none_match,
            },
        };
        let record = self.0.place(write).await?;
        // Only now: if the notification failed, the client may complete the upload again.
        parts.end().await?;
        answer(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(record.etag()),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) async fn abort(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let parts = self
            .upload(&input.bucket, &input.key, &input.upload_id)
            .await?;
        parts.end().await?;
        answer(AbortMultipartUploadOutput::default())
    }
}

fn described(part: &multipart::Part) -> Part {
    Part {
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(timestamp(part.written_ms)),
        part_number: Some(part.number),
        size: i64::try_from(part.size).ok(),
        ..Part::default()
    }
}
