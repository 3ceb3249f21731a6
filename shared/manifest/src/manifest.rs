//! What a file of weights does not say about itself: its name, its labels and how a picture becomes its input.

use crate::{Error, Preprocessing};
use serde::{Deserialize, Serialize};

/// `manifest.json`, beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the model is called in results and logs.
    pub name: String,
    /// One for each class, in the order of the logits.
    pub labels: Vec<String>,
    /// How a picture becomes the model's input.
    pub preprocessing: Preprocessing,
    /// How many classes a prediction names unless a setting says otherwise.
    #[serde(default = "default_top_k")]
    pub top_k: usize,
}

pub(crate) fn default_top_k() -> usize {
    5
}

impl Manifest {
    /// For weights that come without one: ImageNet's preprocessing, and numbers for labels.
    pub(crate) fn of_bare_weights(name: &str) -> Self {
        let preprocessing = Preprocessing::default();
        Self {
            name: name.to_owned(),
            labels: Vec::new(),
            preprocessing,
            top_k: default_top_k(),
        }
    }

    pub(crate) fn parse(what: &str, json: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(json).map_err(|error| Error::invalid(what, error))
    }

    /// Checks what the weights, of so many classes, and the arithmetic rely on; fills in labels that are missing.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn completed(mut self, classes: usize) -> Result<Self, Error> {
        let invalid = |why: String| Err(Error::invalid(format!("manifest of {}", self.name), why));
        let problems = self.preprocessing.problems();
        if !problems.is_empty() {
            return invalid(problems.join("; "));
        }
        if self.top_k == 0 {
            return invalid("top_k is 0".to_owned());
        }
        if self.labels.is_empty() {
            self.labels = default_labels(classes);
        }
        if self.labels.len() != classes {
            return invalid(format!(
                "{} labels for the {classes} classes of the weights",
                self.labels.len()
            ));
        }
        Ok(self)
    }
}

fn default_labels(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("class {class}")).collect()
}

/// The labels of a file: one a line, in the order of the logits; blank lines at the end do not count.
///
/// # Errors
/// [`Error::Invalid`] where another line is blank.
pub fn labels_of_text(what: &str, text: &str) -> Result<Vec<String>, Error> {
    let labels: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| line.trim().to_owned())
        .collect();
    match labels.iter().position(String::is_empty) {
        Some(line) => Err(Error::invalid(what, format!("line {} is empty", line + 1))),
        None => Ok(labels),
    }
}
