//! Settings of the connection to S3.

use secrecy::SecretString;
use std::time::Duration;

/// A key pair that the program sets itself. Without one, the AWS default chain finds the credentials.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The access key, which names the key pair.
    pub access_key: String,
    /// The secret key, which signs requests.
    pub secret_key: SecretString,
}

/// Where S3 is and how long to wait for it. The AWS default chain finds the credentials: environment, profile files,
/// web
/// identity (IRSA), container, instance.
#[derive(Debug, Clone, clap::Args)]
pub struct StorageSettings {
    /// URL of the S3 server; AWS itself when absent
    #[arg(long, env = "SIGHTLINE_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<String>,

    /// Region; otherwise AWS_REGION's or the profile's, else us-east-1
    #[arg(long, env = "SIGHTLINE_S3_REGION", value_name = "NAME")]
    pub s3_region: Option<String>,

    /// Put the bucket into the path instead of the host name; by default when an endpoint is set
    #[arg(long, env = "SIGHTLINE_S3_PATH_STYLE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub s3_path_style: Option<bool>,

    /// Longest time to establish a connection
    #[arg(long, env = "SIGHTLINE_S3_CONNECT_TIMEOUT", value_parser = humantime::parse_duration, value_name = "DURATION", default_value = "3s")]
    pub s3_connect_timeout: Duration,

    /// Longest time of one attempt: until the response begins, and again until its content has arrived
    #[arg(long, env = "SIGHTLINE_S3_TIMEOUT", value_parser = humantime::parse_duration, value_name = "DURATION", default_value = "30s")]
    pub s3_timeout: Duration,

    /// The former name of --s3-connect-timeout
    #[arg(
        long,
        env = "SIGHTLINE_S3_CONNECT_TIMEOUT_MS",
        value_name = "MS",
        hide = true
    )]
    pub s3_connect_timeout_ms: Option<u64>,

    /// The former name of --s3-timeout
    #[arg(long, env = "SIGHTLINE_S3_TIMEOUT_MS", value_name = "MS", hide = true)]
    pub s3_timeout_ms: Option<u64>,

    /// Attempts for a request, with growing pauses between them, before it fails
    #[arg(
        long,
        env = "SIGHTLINE_S3_ATTEMPTS",
        default_value_t = 3,
        value_name = "N"
    )]
    pub s3_attempts: u32,

    /// A key pair to use instead of the default chain's. Not a flag: only programs set it.
    #[arg(skip)]
    pub credentials: Option<Credentials>,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            s3_endpoint: None,
            s3_region: None,
            s3_path_style: None,
            s3_connect_timeout: Duration::from_secs(3),
            s3_timeout: Duration::from_secs(30),
            s3_connect_timeout_ms: None,
            s3_timeout_ms: None,
            s3_attempts: 3,
            credentials: None,
        }
    }
}

impl StorageSettings {
    /// One line for each setting that is wrong; empty if all are right.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(endpoint) = &self.s3_endpoint
            && let Err(why) = check_endpoint(endpoint)
        {
            found.push(format!("--s3-endpoint: {endpoint:?} {why}"));
        }
        if self.s3_region.as_deref().is_some_and(str::is_empty) {
            found.push("--s3-region: empty".into());
        }
        if self.s3_attempts == 0 {
            found.push("--s3-attempts: must be at least 1".into());
        }
        for (name, time) in [
            ("connect-timeout", self.connect_timeout()),
            ("timeout", self.attempt_timeout()),
        ] {
            if time.is_zero() {
                found.push(format!("--s3-{name}: must be more than 0"));
            }
        }
        found
    }

    /// Longest time to establish a connection, by its flag or the flag's former name.
    pub(crate) fn connect_timeout(&self) -> Duration {
        let former = self.s3_connect_timeout_ms.map(Duration::from_millis);
        former.unwrap_or(self.s3_connect_timeout)
    }

    /// Longest time of one attempt, by its flag or the flag's former name.
    pub(crate) fn attempt_timeout(&self) -> Duration {
        let former = self.s3_timeout_ms.map(Duration::from_millis);
        former.unwrap_or(self.s3_timeout)
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    let uri: http::Uri = endpoint.parse().map_err(|_| "is not a URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("must begin with http:// or https://");
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err("names no host");
    }
    if uri.query().is_some() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err("must not have a query or credentials");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        storage: StorageSettings,
    }

    #[test]
    fn flags_default_like_the_struct() {
        let cli = Cli::parse_from(["x"]).storage;
        let plain = StorageSettings::default();
        assert_eq!(format!("{cli:?}"), format!("{plain:?}"));
        let set = Cli::parse_from(["x", "--s3-path-style", "--s3-endpoint", "http://h:1"]).storage;
        assert_eq!(set.s3_path_style, Some(true));
        let unset = Cli::parse_from(["x", "--s3-path-style", "false"]).storage;
        assert_eq!(unset.s3_path_style, Some(false));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let wrong = StorageSettings {
            s3_endpoint: Some("localhost:9000".into()),
            s3_region: Some(String::new()),
            s3_attempts: 0,
            s3_timeout: Duration::ZERO,
            ..StorageSettings::default()
        };
        assert_eq!(wrong.problems().len(), 4, "{:?}", wrong.problems());
        for endpoint in ["http://u:p@h", "ftp://h", "http://", "http://h/?q=1", ""] {
            let wrong = StorageSettings {
                s3_endpoint: Some(endpoint.into()),
                ..StorageSettings::default()
            };
            assert_eq!(wrong.problems().len(), 1, "{endpoint}");
        }
        let right = StorageSettings {
            s3_endpoint: Some("https://s3.example.com:9000/base".into()),
            ..StorageSettings::default()
        };
        assert!(right.problems().is_empty());
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let credentials = Credentials {
            access_key: "AK".into(),
            secret_key: "hush".into(),
        };
        assert!(!format!("{credentials:?}").contains("hush"));
    }
}
