//! Which images get a thumbnail, and where it lies.

use clap::Args;
use sightline_contracts::{ImageRef, Label, Thumbnail};

/// The end of every thumbnail's key; ingest knows thumbnails by it.
const SUFFIX: &str = "_thumb.png";

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Thumbnails")]
pub struct Thumbnails {
    /// What comes before the image's key in its thumbnail's; ingest must be given the same
    #[arg(
        long,
        env = "SIGHTLINE_THUMBNAIL_PREFIX",
        value_name = "PREFIX",
        default_value = PREFIX
    )]
    pub thumbnail_prefix: String,
    /// Bucket of the thumbnails; each image's own where not given
    #[arg(long, env = "SIGHTLINE_THUMBNAIL_BUCKET", value_name = "BUCKET")]
    pub thumbnail_bucket: Option<String>,
    /// Thumbnails only for images whose top label contains this text, several allowed; results come for all
    #[arg(
        long,
        env = "SIGHTLINE_LABEL_FILTER",
        value_name = "TEXT",
        value_delimiter = ','
    )]
    pub label_filter: Vec<String>,
}

/// The prefix where none is given.
const PREFIX: &str = "thumbnails/";

impl Default for Thumbnails {
    fn default() -> Self {
        Self {
            thumbnail_prefix: PREFIX.to_owned(),
            thumbnail_bucket: None,
            label_filter: Vec::new(),
        }
    }
}

impl Thumbnails {
    /// Everything that is wrong with the settings, each a sentence that names its flag.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.thumbnail_bucket.as_deref() == Some("") {
            found.push("--thumbnail-bucket: must not be empty".to_owned());
        }
        if self.label_filter.iter().any(String::is_empty) {
            found.push("--label-filter: must not be empty".to_owned());
        }
        found
    }

    /// Where the thumbnail of this image goes, if it gets one.
    pub fn place(&self, image: &ImageRef, top: &Label) -> Option<Thumbnail> {
        let wanted = self.label_filter.is_empty()
            || self
                .label_filter
                .iter()
                .any(|text| top.label.contains(text));
        wanted.then(|| Thumbnail {
            bucket: self
                .thumbnail_bucket
                .clone()
                .unwrap_or_else(|| image.bucket.clone()),
            key: format!("{}{}{SUFFIX}", self.thumbnail_prefix, image.key),
        })
    }
}
