//! Weights from a hub that speaks Hugging Face's protocol, through its own cache.

use crate::Error;
#[cfg(feature = "hub")]
use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{ApiBuilder, ApiError, ApiRepo},
};
use std::{env, fmt, path::PathBuf};

/// Tries of a download that breaks off; each goes on where the last one ended.
#[cfg(feature = "hub")]
const RETRIES: usize = 3;

/// Where the hub is, where its files are kept, who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hub {
    /// Its URL; Hugging Face's by default.
    pub endpoint: Option<String>,
    /// The folder that keeps its files; by default the one that all its clients share.
    pub cache: Option<PathBuf>,
    /// By default what `huggingface-cli login` left beside the cache.
    pub token: Option<String>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "***");
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &token)
            .finish()
    }
}

impl Hub {
    /// `HF_ENDPOINT`, `HF_HOME` and `HF_TOKEN`, as every client of the hub reads them.
    pub fn from_env() -> Self {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(value: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name| value(name).filter(|value| !value.is_empty());
        let cache = text("HF_HOME").map(|home| PathBuf::from(home).join("hub"));
        Self {
            endpoint: text("HF_ENDPOINT"),
            cache,
            token: text("HF_TOKEN"),
        }
    }

    /// The path of a repository's file in the cache, downloaded unless it is there already.
    #[cfg(feature = "hub")]
    pub(crate) fn fetch(
        &self,
        repository: &str,
        revision: Option<&str>,
        file: &str,
    ) -> Result<PathBuf, Error> {
        let got = self
            .open(repository, revision)
            .and_then(|repo| repo.get(file));
        let at = revision.unwrap_or("main");
        got.map_err(|error| Error::unavailable(format!("{file} of hf:{repository}@{at}"), error))
    }

    #[cfg(not(feature = "hub"))]
    pub(crate) fn fetch(
        &self,
        repository: &str,
        _revision: Option<&str>,
        _file: &str,
    ) -> Result<PathBuf, Error> {
        let why = "this program was built without the feature `hub`";
        Err(Error::invalid(format!("hf:{repository}"), why))
    }

    #[cfg(feature = "hub")]
    fn open(&self, repository: &str, revision: Option<&str>) -> Result<ApiRepo, ApiError> {
        let cache = self.cache.clone().map_or_else(Cache::default, Cache::new);
        let mut builder = ApiBuilder::from_cache(cache)
            .with_progress(false)
            .with_retries(RETRIES)
            .with_user_agent("sightline", env!("CARGO_PKG_VERSION"));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        if self.token.is_some() {
            builder = builder.with_token(self.token.clone());
        }
        let revision = revision.unwrap_or("main").to_owned();
        Ok(builder.build()?.repo(Repo::with_revision(
            repository.to_owned(),
            RepoType::Model,
            revision,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_variables_that_every_client_reads() {
        let hub = Hub::from_variables(|name| match name {
            "HF_ENDPOINT" => Some("http://mirror/".to_owned()),
            "HF_HOME" => Some("/models".to_owned()),
            "HF_TOKEN" => Some("hush".to_owned()),
            _ => None,
        });
        assert_eq!(hub.endpoint.as_deref(), Some("http://mirror/"));
        assert_eq!(hub.cache, Some(PathBuf::from("/models/hub")));
        assert_eq!(hub.token.as_deref(), Some("hush"));
        assert!(!format!("{hub:?}").contains("hush"));
        assert_eq!(Hub::from_variables(|_| Some(String::new())), Hub::default());
    }
}
