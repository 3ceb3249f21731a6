//! The S3 operations: the trait of s3s, whose longer methods are in modules of their own.

mod copy;
mod list;
mod objects;
mod parts;
mod properties;

use crate::{event::Requester, record::timestamp, vault::Vault};
use async_trait::async_trait;
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use std::{net::SocketAddr, sync::Arc};

/// The client's address, put into each request's extensions by the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

#[derive(Clone)]
pub(crate) struct Api(pub Arc<Vault>);

impl Api {
    fn requester<T>(&self, request: &S3Request<T>) -> Requester {
        let header = |name| {
            let value = request.headers.get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let peer = request.extensions.get::<Peer>();
        let keys = request.credentials.as_ref();
        Requester {
            access_key: keys.map_or_else(String::new, |keys| keys.access_key.clone()),
            address: peer.map_or_else(String::new, |peer| peer.0.ip().to_string()),
            user_agent: header(http::header::USER_AGENT).unwrap_or_default(),
            region: self.0.config.region.clone(),
            endpoint: header(http::header::HOST)
                .map_or_else(String::new, |host| format!("http://{host}")),
        }
    }
}

fn answer<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

/// Accepts only the version `null`, which S3 gives to objects in buckets without versions.
fn only_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null" | "") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "this store keeps no versions")),
    }
}

#[async_trait]
impl S3 for Api {
    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.0.create_bucket(&req.input.bucket).await?;
        answer(CreateBucketOutput {
            location: Some(format!("/{}", req.input.bucket)),
        })
    }

    async fn head_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.0.bucket(&req.input.bucket)?;
        answer(HeadBucketOutput {
            bucket_region: Some(self.0.config.region.clone()),
            ..HeadBucketOutput::default()
        })
    }

    async fn list_buckets(
        &self,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let bucket = |(name, created_ms)| Bucket {
            name: Some(name),
            creation_date: Some(timestamp(created_ms)),
            ..Bucket::default()
        };
        answer(ListBucketsOutput {
            buckets: Some(self.0.catalog.buckets().into_iter().map(bucket).collect()),
            owner: Some(Owner {
                display_name: Some("sightline".to_owned()),
                id: Some("sightline".to_owned()),
            }),
            ..ListBucketsOutput::default()
        })
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.0.delete_bucket(&req.input.bucket).await?;
        answer(DeleteBucketOutput::default())
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.0.bucket(&req.input.bucket)?;
        let region = self.0.config.region.clone();
        // S3 omits the location of its first region.
        let elsewhere = (region != "us-east-1").then(|| BucketLocationConstraint::from(region));
        answer(GetBucketLocationOutput {
            location_constraint: elsewhere,
        })
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.0.bucket(&req.input.bucket)?;
        answer(GetBucketVersioningOutput::default())
    }

    /// Objects are never locked; MinIO's client asks before each copy.
    async fn get_object_lock_configuration(
        &self,
        req: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        self.0.bucket(&req.input.bucket)?;
        Err(s3_error!(ObjectLockConfigurationNotFoundError))
    }

    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.put(req).await
    }

    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.get(req.input).await
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.head(req.input).await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        only_version(req.input.version_id.as_deref())?;
        self.0.delete(&req.input.bucket, &req.input.key).await?;
        answer(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.delete_all(req.input).await
    }

    async fn copy_object(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.copy(req).await
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.list_v1(req.input).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.list_v2(req.input).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.begin_upload(req.input).await
    }

    async fn upload_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.add_part(req).await
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.copy_part(req.input).await
    }

    async fn list_parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        self.parts(req.input).await
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.uploads(req.input).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.complete(req).await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.abort(req.input).await
    }
}
