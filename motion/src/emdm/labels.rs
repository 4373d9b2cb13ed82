//! Labels of motions: which clips show them, and which words mean them.
//!
//! Text is mapped onto labels by a table, not by a language model: the longest label or word that
//! stands in it counts. [`LabelMatcher`] is the interface behind which an encoder of text could
//! take its place.

use serde::{Deserialize, Serialize};

use crate::data::{Sequence, matches};
use crate::{Error, Result};

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// What is asked for.
    pub name: String,
    /// Other words for it.
    #[serde(default)]
    pub words: Vec<String>,
    /// Patterns of the clips that show it (see [`crate::data::DataConfig`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clips: Vec<String>,
    /// Whether only a whole clip shows it, since something happens once; else any piece does.
    #[serde(default)]
    pub whole: bool,
    /// The label of the mirror image, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<String>,
}

/// All labels of a model. A label is known by its number, 0 to [`Labels::len`] - 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    #[serde(rename = "label")]
    labels: Vec<Label>,
}

/// Turns what somebody asks for into a label.
pub trait LabelMatcher {
    /// Number of the label that a text means.
    ///
    /// # Errors
    /// No label, naming the nearest.
    fn label(&self, text: &str) -> Result<usize>;
}

impl Labels {
    /// Checks a list of labels.
    ///
    /// # Errors
    /// No label, one without a name or twice, a word that means two, a mirror image that is no label.
    pub fn new(labels: Vec<Label>) -> Result<Self> {
        let labels = Self { labels };
        labels.check()?;
        Ok(labels)
    }

    /// As [`Self::new`], for labels that were read.
    ///
    /// # Errors
    /// See there.
    pub fn check(&self) -> Result<()> {
        let refuse = |found: String, expected: &str| {
            Err(Error::Config {
                key: "label",
                found,
                expected: expected.into(),
            })
        };
        if self.labels.is_empty() {
            return refuse("an empty list".into(), "one label or more");
        }
        let mut seen: Vec<String> = Vec::new();
        for label in &self.labels {
            for word in std::iter::once(&label.name).chain(&label.words) {
                let word = plain(word);
                if word.is_empty() {
                    return refuse(format!("an empty word of `{}`", label.name), "letters");
                }
                if seen.contains(&word) {
                    return refuse(format!("`{word}` twice"), "every word once");
                }
                seen.push(word);
            }
            if let Some(other) = &label.mirrored
                && !self.names().any(|name| name == other)
            {
                return refuse(
                    format!("mirrored = `{other}` of `{}`", label.name),
                    "the name of a label",
                );
            }
        }
        Ok(())
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never: there is a label.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels by their numbers.
    pub fn all(&self) -> &[Label] {
        &self.labels
    }

    /// Their names by their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|label| label.name.as_str())
    }

    /// Number of the label that a sequence shows; none if no pattern matches its clip.
    pub fn of(&self, sequence: &Sequence) -> Option<usize> {
        let shows = |label: &Label| label.clips.iter().any(|one| matches(one, &sequence.name));
        let number = self.labels.iter().position(shows)?;
        Some(if sequence.mirrored {
            self.mirrored(number)
        } else {
            number
        })
    }

    /// Number of the label of the mirror image.
    pub fn mirrored(&self, number: usize) -> usize {
        let other = self.labels[number].mirrored.as_deref();
        let found = other.and_then(|other| self.names().position(|name| name == other));
        found.unwrap_or(number)
    }

    /// Patterns of all clips that show a label.
    pub fn patterns(&self) -> Vec<String> {
        let all = self.labels.iter().flat_map(|label| &label.clips);
        all.cloned().collect()
    }

    /// Names that are spelt most like a text, the nearest first.
    fn nearest(&self, text: &str, count: usize) -> Vec<&str> {
        let likeness = |label: &Label| {
            std::iter::once(&label.name)
                .chain(&label.words)
                .map(|word| strsim::jaro_winkler(text, &plain(word)))
                .fold(0.0, f64::max)
        };
        let mut found: Vec<(f64, &str)> = self
            .labels
            .iter()
            .map(|label| (likeness(label), label.name.as_str()))
            .collect();
        found.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        found
            .into_iter()
            .take(count)
            .map(|(_, name)| name)
            .collect()
    }
}

impl LabelMatcher for Labels {
    fn label(&self, text: &str) -> Result<usize> {
        let asked = plain(text);
        let inside = format!(" {asked} ");
        let words = self.labels.iter().enumerate().flat_map(|(number, label)| {
            std::iter::once(&label.name)
                .chain(&label.words)
                .map(move |word| (plain(word), number))
        });
        words
            .filter(|(word, _)| inside.contains(&format!(" {word} ")))
            .max_by_key(|(word, _)| word.len())
            .map(|(_, number)| number)
            .ok_or_else(|| Error::UnknownLabel {
                text: text.to_owned(),
                nearest: self.nearest(&asked, 3).join("`, `"),
                all: self.names().collect::<Vec<_>>().join(", "),
            })
    }
}

/// Lower case, words one space apart, nothing but letters and digits.
fn plain(text: &str) -> String {
    text.to_lowercase()
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, words: &[&str]) -> Label {
        Label {
            name: name.into(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            clips: vec![],
            whole: false,
            mirrored: None,
        }
    }

    fn labels() -> Labels {
        Labels::new(vec![
            label("walk", &["stroll"]),
            label("walk backwards", &["back up"]),
            label("jump", &["leap up"]),
        ])
        .unwrap()
    }

    #[test]
    fn the_longest_word_in_a_text_counts() {
        for (text, expected) in [
            ("walk", 0),
            ("Please STROLL about!", 0),
            ("walk backwards", 1),
            ("a person walks... no: walk, backwards.", 1),
            ("leap-up", 2),
        ] {
            assert_eq!(labels().label(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_answered_by_the_nearest() {
        let message = labels().label("jmup").unwrap_err().to_string();
        assert!(message.contains("`jmup`"), "{message}");
        assert!(message.contains("`jump`"), "{message}");
        assert!(labels().label("").is_err());
        assert!(labels().label("jumping").is_err());
    }

    #[test]
    fn lists_that_contradict_themselves_are_refused() {
        let refused = |labels: Vec<Label>, word: &str| {
            let message = Labels::new(labels).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        };
        refused(vec![], "empty list");
        refused(vec![label("a", &["b"]), label("B", &[])], "`b` twice");
        refused(vec![label("!", &[])], "empty word");
        let turn = Label {
            mirrored: Some("right".into()),
            ..label("left", &[])
        };
        refused(vec![turn], "mirrored = `right`");
    }
}
