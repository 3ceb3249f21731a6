//! Which images get a thumbnail, and where it is stored.

use clap::Args;
use sightline_contracts::{ImageRef, Label, Thumbnail};

/// The settings of thumbnails.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Thumbnails")]
pub struct Thumbnails {
    /// Prefix of every thumbnail's key; must be the same for ingest
    #[arg(
        long,
        env = "SIGHTLINE_THUMBNAIL_PREFIX",
        value_name = "PREFIX",
        default_value = Thumbnail::DEFAULT_PREFIX
    )]
    pub thumbnail_prefix: String,
    /// Bucket of all thumbnails, whose keys then contain the image's bucket; by default each image's own bucket
    #[arg(long, env = "SIGHTLINE_THUMBNAIL_BUCKET", value_name = "BUCKET")]
    pub thumbnail_bucket: Option<String>,
    /// Store thumbnails only for images whose top label contains this text; several texts are separated by commas. Results
    /// are written for all images
    #[arg(
        long,
        env = "SIGHTLINE_LABEL_FILTER",
        value_name = "TEXT",
        value_delimiter = ','
    )]
    pub label_filter: Vec<String>,
}

/// The longest file name. Many S3 servers store the part of a key after its last slash as a file name.
const MAX_NAME_BYTES: usize = 255;
/// The longest prefix, in bytes: half of the longest key, so that enough of the image's key remains readable.
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
    /// One sentence for each setting that cannot work, with the name of its flag.
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

    /// Where the image's thumbnail is stored; `None` if the label filter excludes it.
    pub(crate) fn location(&self, image: &ImageRef, top: &Label) -> Option<Thumbnail> {
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
    /// The id distinguishes revisions of one key, and keys that are equal after they are cut to S3's limit.
    fn key(&self, image: &ImageRef) -> String {
        let end = format!("_{}{}", image.id, Thumbnail::SUFFIX);
        let mut key = self.thumbnail_prefix.clone();
        if self.thumbnail_bucket.is_some() {
            key.push_str(&image.bucket);
            key.push('/');
        }
        key.push_str(&image.key);
        cut(&mut key, ImageRef::MAX_KEY_BYTES - end.len());
        let name_start = key.rfind('/').map_or(0, |slash| slash + 1);
        let longest = name_start + MAX_NAME_BYTES - end.len();
        // ingest recognizes thumbnails by the whole prefix.
        cut(&mut key, longest.max(self.thumbnail_prefix.len()));
        key.push_str(&end);
        key
    }
}

/// Cuts a text to this many bytes, or to up to three fewer so that no character is split.
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
    fn two_revisions_of_a_key_have_two_thumbnails() {
        let thumbnails = Thumbnails::default();
        let [first, second] =
            ["1", "2"].map(|version| thumbnails.key(&image("b", "a b.jpg", version)));
        assert_ne!(first, second);
        let id = ImageId::new("b", "a b.jpg", "1");
        assert_eq!(first, format!("thumbnails/a b.jpg_{id}_thumb.png"));
    }

    #[test]
    fn images_of_two_buckets_have_different_keys_in_the_thumbnail_bucket() {
        let thumbnails = Thumbnails {
            thumbnail_bucket: Some("small".into()),
            ..Thumbnails::default()
        };
        let key = |bucket| thumbnails.key(&image(bucket, "a.jpg", "1"));
        assert!(key("x").starts_with("thumbnails/x/a.jpg_"));
        assert!(key("y").starts_with("thumbnails/y/a.jpg_"));
    }

    /// Keys that are too long would be invalid.
    #[test]
    fn a_thumbnails_key_is_valid_for_the_longest_image_key() {
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
    fn the_prefix_is_not_cut() {
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
