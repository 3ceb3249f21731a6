//! From a request's body to a file, checked against the length and checksums that the client declared.

use crate::{
    folder::{Draft, Folder},
    vault::disk,
};
use futures::StreamExt;
use http::HeaderMap;
use s3s::{
    S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
    dto::StreamingBlob,
    s3_error,
};
use std::time::Duration;
use tokio::{
    io::{AsyncWriteExt, BufWriter},
    time::timeout,
};

/// The most that S3 takes in one request.
const MAX_BYTES: u64 = 5 << 30;
/// A client that sends nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(60);
const BUFFER_BYTES: usize = 256 << 10;

/// Content on disk that belongs to no object yet.
#[derive(Debug)]
pub(crate) struct Received {
    pub draft: Draft,
    pub size: u64,
    pub md5: [u8; 16],
}

/// The headers that describe a body, and its trailers.
pub(crate) struct Said<'a> {
    pub headers: &'a HeaderMap,
    pub trailers: Option<TrailingHeaders>,
}

/// Writes the body to a draft. Fails if it is too large, incomplete or not what the headers declare.
pub(crate) async fn receive(
    folder: &Folder,
    body: Option<StreamingBlob>,
    said: Said<'_>,
) -> S3Result<Received> {
    check_announced(said.headers)?;
    let mut checksums = hasher(said.headers);
    let mut md5 = Md5::new();
    let (draft, file) = folder.draft().await.map_err(disk)?;
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
    let mut size = 0;
    if let Some(mut body) = body {
        loop {
            let next = timeout(IDLE, body.next()).await;
            let Some(chunk) = next.map_err(|_| s3_error!(RequestTimeout))? else {
                break;
            };
            let chunk = chunk.map_err(refused)?;
            size += chunk.len() as u64;
            if size > MAX_BYTES {
                return Err(s3_error!(EntityTooLarge));
            }
            md5.update(&chunk);
            checksums.update(&chunk);
            file.write_all(&chunk).await.map_err(disk)?;
        }
    }
    file.flush().await.map_err(disk)?;
    folder.finish(file.into_inner()).await.map_err(disk)?;
    let md5 = md5.finalize();
    check(&said, size, &md5, checksums)?;
    Ok(Received { draft, size, md5 })
}

/// Refuses a body by its declared length, before it arrives.
fn check_announced(headers: &HeaderMap) -> S3Result<()> {
    let length = headers.get(http::header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BYTES) {
        return Err(s3_error!(EntityTooLarge));
    }
    Ok(())
}

/// The stream fails when a signature or hash doesn't fit, or when the connection breaks.
fn refused(error: Box<dyn std::error::Error + Send + Sync>) -> s3s::S3Error {
    match error.downcast::<s3s::S3Error>() {
        Ok(known) => *known,
        Err(other) => s3s::S3Error::with_source(s3s::S3ErrorCode::IncompleteBody, other),
    }
}

/// Computes the checksums that the client declares in headers or trailers.
fn hasher(headers: &HeaderMap) -> ChecksumHasher {
    let trailer = headers.get("x-amz-trailer");
    let trailer = trailer
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let wanted = |name: &str| {
        headers.contains_key(name)
            || trailer
                .split(',')
                .any(|one| one.trim().eq_ignore_ascii_case(name))
    };
    ChecksumHasher {
        crc32: wanted("x-amz-checksum-crc32").then(Crc32::new),
        crc32c: wanted("x-amz-checksum-crc32c").then(Crc32c::new),
        sha1: wanted("x-amz-checksum-sha1").then(Sha1::new),
        sha256: wanted("x-amz-checksum-sha256").then(Sha256::new),
        crc64nvme: wanted("x-amz-checksum-crc64nvme").then(Crc64Nvme::new),
    }
}

fn check(said: &Said<'_>, size: u64, md5: &[u8; 16], checksums: ChecksumHasher) -> S3Result<()> {
    let trailers = said.trailers.as_ref().and_then(TrailingHeaders::take);
    let said_of = |name: &str| {
        let ahead = said.headers.get(name);
        let value = ahead.or_else(|| trailers.as_ref()?.get(name))?;
        value.to_str().ok().map(str::to_owned)
    };
    if let Some(length) = said_of("x-amz-decoded-content-length")
        && length.parse() != Ok(size)
    {
        return Err(s3_error!(
            IncompleteBody,
            "{size} bytes of {length} arrived"
        ));
    }
    if let Some(expected) = said_of("content-md5")
        && expected != base64_simd::STANDARD.encode_to_string(md5)
    {
        return Err(s3_error!(BadDigest, "the content has another MD5"));
    }
    let found = checksums.finalize();
    for (name, found) in [
        ("x-amz-checksum-crc32", found.checksum_crc32),
        ("x-amz-checksum-crc32c", found.checksum_crc32c),
        ("x-amz-checksum-sha1", found.checksum_sha1),
        ("x-amz-checksum-sha256", found.checksum_sha256),
        ("x-amz-checksum-crc64nvme", found.checksum_crc64nvme),
    ] {
        if found.is_some() && found != said_of(name) {
            return Err(s3_error!(BadDigest, "{name} is not the content's"));
        }
    }
    Ok(())
}
