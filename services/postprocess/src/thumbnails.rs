//! Which images get a thumbnail, and where it lies.

use clap::Args;
use sightline_contracts::{ImageRef, Label, Thumbnail};

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Thumbnails")]
pub struct Thumbnails {
    /// What every thumbnail's key begins with; ingest must be given the same
    #[arg(
        long,
        env = "SIGHTLINE_THUMBNAIL_PREFIX",
        value_name = "PREFIX",
        default_value = Thumbnail::DEFAULT_PREFIX
    )]
    pub thumbnail_prefix: String,
    /// Bucket of the thumbnails, whose keys then name the image's bucket too; each image's own where not given
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

/// The longest name of a file, which is what many servers make of the part of a key behind its last slash.
const MAX_NAME_BYTES: usize = 255;
/// The longest prefix: half of a key is left for what tells images apart to a reader.
const MAX_PREFIX_BYTES: usize = 512;

impl Default for Thumbnails {
    fn default() -> Self {
        Self {
            thumbnail_prefix: Thumbnail::DEFAULT_PREFIX.to_owned(),
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
        let prefix = &self.thumbnail_prefix;
        if prefix.len() > MAX_PREFIX_BYTES || prefix.chars().any(char::is_control) {
            let rule = format!("at most {MAX_PREFIX_BYTES} bytes, no control characters");
            found.push(format!("--thumbnail-prefix: {rule}"));
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
            key: self.key(image),
        })
    }

    /// `{prefix}{key}_{id}_thumb.png`, with `{bucket}/` before the key where all thumbnails go to one bucket.
    ///
    /// The id tells apart what the rest may not: revisions of a key, and keys cut to the length that S3 takes.
    fn key(&self, image: &ImageRef) -> String {
        let end = format!("_{}{}", image.id, Thumbnail::SUFFIX);
        let mut key = self.thumbnail_prefix.clone();
        if self.thumbnail_bucket.is_some() {
            key.push_str(&image.bucket);
            key.push('/');
        }
        key.push_str(&image.key);
        cut(&mut key, ImageRef::MAX_KEY_BYTES - end.len());
        let name = key.rfind('/').map_or(0, |slash| slash + 1);
        let longest = name + MAX_NAME_BYTES - end.len();
        // Ingest knows the thumbnail by the whole prefix.
        cut(&mut key, longest.max(self.thumbnail_prefix.len()));
        key.push_str(&end);
        key
    }
}

/// To this many bytes, or up to three less where a character would be cut in two.
fn cut(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_contracts::{ImageId, Times};

    fn image(bucket: &str, key: &str, version: &str) -> ImageRef {
        ImageRef {
            id: ImageId::new(bucket, key, version),
            bucket: bucket.into(),
            key: key.into(),
            version: Some(version.into()),
            etag: None,
            size: None,
            event_time: None,
            times: Times::default(),
        }
    }

    #[test]
    fn two_revisions_of_a_key_keep_two_thumbnails() {
        let thumbnails = Thumbnails::default();
        let [first, second] =
            ["1", "2"].map(|version| thumbnails.key(&image("b", "a b.jpg", version)));
        assert_ne!(first, second);
        let id = ImageId::new("b", "a b.jpg", "1");
        assert_eq!(first, format!("thumbnails/a b.jpg_{id}_thumb.png"));
    }

    #[test]
    fn two_buckets_do_not_meet_in_the_one_of_the_thumbnails() {
        let thumbnails = Thumbnails {
            thumbnail_bucket: Some("small".into()),
            ..Thumbnails::default()
        };
        let key = |bucket| thumbnails.key(&image(bucket, "a.jpg", "1"));
        assert!(key("x").starts_with("thumbnails/x/a.jpg_"));
        assert!(key("y").starts_with("thumbnails/y/a.jpg_"));
    }

    /// They were invalid, and retried until the circuit opened for the good ones, too.
    #[test]
    fn the_thumbnail_of_a_key_as_long_as_s3_takes_has_a_key_that_s3_takes() {
        for bucket in [None, Some("small".to_owned())] {
            let thumbnails = Thumbnails {
                thumbnail_prefix: "p/".repeat(MAX_PREFIX_BYTES / 2),
                thumbnail_bucket: bucket,
                ..Thumbnails::default()
            };
            assert_eq!(thumbnails.problems(), Vec::<String>::new());
            let bucket = "b".repeat(255);
            let folders = format!("{}/", "d".repeat(240)).repeat(4);
            for long in ["€".repeat(341), "€/".repeat(255), folders] {
                let keys = ["a", "b"]
                    .map(|end| thumbnails.key(&image(&bucket, &format!("{long}{end}"), "1")));
                assert_ne!(keys[0], keys[1]);
                for key in keys {
                    assert!(key.len() <= ImageRef::MAX_KEY_BYTES, "{}", key.len());
                    assert!(
                        key.rsplit('/').next().unwrap().len() <= MAX_NAME_BYTES,
                        "{key}"
                    );
                    assert!(key.starts_with(&thumbnails.thumbnail_prefix));
                    assert!(key.ends_with(Thumbnail::SUFFIX));
                }
            }
        }
    }

    #[test]
    fn a_prefix_is_never_cut() {
        let thumbnails = Thumbnails {
            thumbnail_prefix: "p".repeat(MAX_PREFIX_BYTES),
            ..Thumbnails::default()
        };
        let key = thumbnails.key(&image("b", "k", "1"));
        assert!(key.starts_with(&thumbnails.thumbnail_prefix), "{key}");
    }

    #[test]
    fn a_prefix_that_makes_keys_invalid_is_refused_at_start() {
        for prefix in ["p".repeat(MAX_PREFIX_BYTES + 1), "a\nb".to_owned()] {
            let thumbnails = Thumbnails {
                thumbnail_prefix: prefix,
                ..Thumbnails::default()
            };
            let problems = thumbnails.problems();
            assert!(
                problems.len() == 1 && problems[0].starts_with("--thumbnail-prefix"),
                "{problems:?}"
            );
        }
    }
}
