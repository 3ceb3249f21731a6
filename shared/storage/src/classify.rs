//! From the SDK's errors to [`Error`]: failures of the server and of the connection, by what the caller can do.

use crate::{Error, Location, error::Cause};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use std::{error::Error as StdError, fmt};

/// The error that a server answered with, in its own words.
#[derive(Debug)]
struct Reply {
    status: u16,
    code: Option<String>,
    message: Option<String>,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl StdError for Reply {}

/// The parts of a request that change what an error in its response means.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    pub etag: Option<&'a str>,
    pub version: Option<&'a str>,
}

/// The [`Error`] for a failed call of the SDK on the object `at`.
pub(crate) fn classify<E>(at: Location, asked: Asked<'_>, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if let SdkError::ServiceError(service) = &error {
        let reply = Reply {
            status: service.raw().status().as_u16(),
            code: service.err().code().map(str::to_owned),
            message: service.err().message().map(str::to_owned),
        };
        return by_reply(at, asked, reply);
    }
    match error {
        SdkError::ConstructionFailure(_) => Error::invalid(at, error),
        SdkError::DispatchFailure(ref failure) if failure.is_user() => Error::invalid(at, error),
        other if lacks_credentials(&other) => Error::Setup {
            source: other.into(),
        },
        other => Error::Transient {
            at,
            source: other.into(),
        },
    }
}

/// Whether the provider chain found no credentials at all. A provider that failed or timed out may recover, so that is
/// not meant.
fn lacks_credentials(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::CredentialsNotLoaded(_))
            | Some(CredentialsError::InvalidConfiguration(_)) => return true,
            _ => next = error.source(),
        }
    }
    false
}

fn by_reply(at: Location, asked: Asked<'_>, reply: Reply) -> Error {
    let code = reply.code.as_deref().unwrap_or_default();
    match (code, reply.status) {
        ("NoSuchKey" | "NoSuchBucket" | "NoSuchVersion" | "NotFound", _) => Error::NotFound { at },
        // Servers without versions answer so to any version id, and AWS to a malformed one.
        ("InvalidArgument", _) if asked.version.is_some() => Error::NotFound { at },
        ("PreconditionFailed", _) | (_, 412) => Error::Changed {
            at,
            expected: asked.etag.unwrap_or_default().to_owned(),
        },
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "AuthorizationHeaderMalformed"
            | "RequestTimeTooSkewed"
            | "PermanentRedirect"
            | "IllegalLocationConstraintException",
            _,
        ) => Error::Setup {
            source: at_place(&at, reply),
        },
        // Temporary credentials are renewed by the provider chain.
        ("ExpiredToken" | "TokenRefreshRequired" | "RequestTimeout" | "OperationAborted", _) => {
            transient(at, reply)
        }
        (_, 408 | 425 | 429 | 500..=599) => transient(at, reply),
        // A version that is a delete marker can't be read: 405.
        (_, 404 | 405 | 410) => Error::NotFound { at },
        (_, 301 | 302 | 307 | 308 | 401) => Error::Setup {
            source: at_place(&at, reply),
        },
        (_, 403) => Error::Denied {
            at,
            source: reply.into(),
        },
        _ => Error::invalid(at, reply),
    }
}

fn transient(at: Location, reply: Reply) -> Error {
    Error::Transient {
        at,
        source: reply.into(),
    }
}

/// The cause of a [`Error::Setup`]. That error concerns all objects, so only its cause names the one of the failed
/// call.
fn at_place(at: &Location, reply: Reply) -> Cause {
    format!("{at}: {reply}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Advice;

    fn advice(status: u16, code: &str) -> Advice {
        let reply = Reply {
            status,
            code: (!code.is_empty()).then(|| code.to_owned()),
            message: None,
        };
        by_reply(Location::new("b", "k"), Asked::default(), reply).advice()
    }

    #[test]
    fn each_response_has_the_right_advice() {
        for (status, code) in [
            (503, "SlowDown"),
            (500, ""),
            (502, ""),
            (429, ""),
            (400, "ExpiredToken"),
        ] {
            assert_eq!(advice(status, code), Advice::Retry, "{status} {code}");
        }
        for (status, code) in [
            (404, "NoSuchKey"),
            (404, ""),
            (403, "AccessDenied"),
            (412, ""),
            (400, "InvalidRequest"),
            (405, "MethodNotAllowed"),
        ] {
            assert_eq!(advice(status, code), Advice::Reject, "{status} {code}");
        }
        for (status, code) in [
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (301, "PermanentRedirect"),
            (401, ""),
        ] {
            assert_eq!(advice(status, code), Advice::Stop, "{status} {code}");
        }
    }

    #[test]
    fn a_wrong_version_is_not_found() {
        let reply = Reply {
            status: 400,
            code: Some("InvalidArgument".into()),
            message: None,
        };
        let asked = Asked {
            version: Some("x"),
            etag: None,
        };
        let error = by_reply(Location::new("b", "k"), asked, reply);
        assert!(matches!(error, Error::NotFound { .. }));
    }
}
