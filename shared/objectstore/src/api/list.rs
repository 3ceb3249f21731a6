//! Listings of objects, in S3's two versions.

use super::{Api, answer};
use crate::{
    event::url_encoded,
    listing::{Page, Query},
};
use base64_simd::URL_SAFE_NO_PAD as TOKEN;
use s3s::{S3Response, S3Result, dto::*, s3_error};

const MAX_KEYS: i32 = 1000;

/// How names are written in an answer.
#[derive(Clone, Copy)]
struct Names {
    encoded: bool,
}

impl Names {
    fn asked(encoding: Option<&EncodingType>) -> Self {
        Self {
            encoded: encoding.is_some_and(|name| name.as_str() == EncodingType::URL),
        }
    }

    fn write(self, name: String) -> String {
        if self.encoded {
            url_encoded(&name)
        } else {
            name
        }
    }

    fn prefixes(self, page: &mut Page) -> Option<Vec<CommonPrefix>> {
        let prefixes = std::mem::take(&mut page.prefixes).into_iter();
        let prefixes = prefixes.map(|prefix| CommonPrefix {
            prefix: Some(self.write(prefix)),
        });
        Some(prefixes.collect())
    }
}

impl Api {
    pub(super) async fn list_v2(
        &self,
        input: ListObjectsV2Input,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let names = Names::asked(input.encoding_type.as_ref());
        let after = match &input.continuation_token {
            Some(token) => untoken(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let limit = limit(input.max_keys)?;
        let query = Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().filter(|text| !text.is_empty()),
            after: &after,
            limit: usize::try_from(limit).unwrap_or(0),
        };
        let mut page = self.page(&input.bucket, &query)?;
        let common_prefixes = names.prefixes(&mut page);
        let next = page.next.take();
        let contents = self.contents(&input.bucket, page, names).await?;
        let count = contents.len() + common_prefixes.as_ref().map_or(0, Vec::len);
        answer(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(names.write(input.prefix.unwrap_or_default())),
            delimiter: input.delimiter.map(|text| names.write(text)),
            start_after: input.start_after.map(|text| names.write(text)),
            max_keys: Some(limit),
            key_count: i32::try_from(count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(next.is_some()),
            next_continuation_token: next.map(|last| TOKEN.encode_to_string(last)),
            contents: Some(contents),
            common_prefixes,
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        })
    }

    pub(super) async fn list_v1(
        &self,
        input: ListObjectsInput,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let names = Names::asked(input.encoding_type.as_ref());
        let limit = limit(input.max_keys)?;
        let query = Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().filter(|text| !text.is_empty()),
            after: input.marker.as_deref().unwrap_or_default(),
            limit: usize::try_from(limit).unwrap_or(0),
        };
        let mut page = self.page(&input.bucket, &query)?;
        let common_prefixes = names.prefixes(&mut page);
        let next = page.next.take();
        let contents = self.contents(&input.bucket, page, names).await?;
        answer(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(names.write(input.prefix.unwrap_or_default())),
            delimiter: input.delimiter.map(|text| names.write(text)),
            marker: Some(names.write(input.marker.unwrap_or_default())),
            max_keys: Some(limit),
            is_truncated: Some(next.is_some()),
            next_marker: next.map(|last| names.write(last)),
            contents: Some(contents),
            common_prefixes,
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        })
    }

    fn page(&self, bucket: &str, query: &Query<'_>) -> S3Result<Page> {
        let page = self.0.catalog.page(bucket, query);
        page.ok_or_else(|| s3_error!(NoSuchBucket, "no bucket {bucket:?}"))
    }

    /// Keys deleted since the page was made are left out.
    async fn contents(&self, bucket: &str, page: Page, names: Names) -> S3Result<Vec<Object>> {
        let mut contents = Vec::with_capacity(page.keys.len());
        for key in page.keys {
            if let Some(record) = self.0.find(bucket, &key).await? {
                contents.push(Object {
                    e_tag: Some(record.etag()),
                    last_modified: Some(record.written()),
                    size: i64::try_from(record.size).ok(),
                    storage_class: Some(ObjectStorageClass::from_static(
                        ObjectStorageClass::STANDARD,
                    )),
                    key: Some(names.write(key)),
                    ..Object::default()
                });
            }
        }
        Ok(contents)
    }
}

fn limit(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(MAX_KEYS) {
        limit @ 0.. => Ok(limit.min(MAX_KEYS)),
        _ => Err(s3_error!(InvalidArgument, "max-keys is negative")),
    }
}

fn untoken(token: &str) -> S3Result<String> {
    let bytes = TOKEN.decode_to_vec(token).ok();
    let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| s3_error!(InvalidArgument, "not a continuation token of this store"))
}
