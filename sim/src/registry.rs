//! All environments by the names that configurations give in `task.name`.
//!
//! An environment is one folder with a [`SPEC`](crate::pusht::SPEC), one line here, and its `pub mod` in `lib.rs`.

use crate::environment::EnvironmentSpec;

/// Every environment, in the order in which lists name them.
#[rustfmt::skip] // One line for each.
pub static ENVIRONMENTS: &[&EnvironmentSpec] = &[
    &crate::pusht::SPEC,
    &crate::two_ways::SPEC,
];

/// Names less alike than this (Jaro-Winkler, 0 to 1) are no slip of the keyboard.
const MIN_SIMILARITY: f64 = 0.7;

/// A name that no environment has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no environment `{name}`, expected one of: {}{}", self.known(), self.suggestion())]
pub struct UnknownEnvironment {
    /// The name.
    pub name: String,
    /// The known name that is most like it, if one is like it at all.
    pub nearest: Option<&'static str>,
}

impl UnknownEnvironment {
    fn known(&self) -> String {
        let names: Vec<&str> = ENVIRONMENTS.iter().map(|spec| spec.name).collect();
        names.join(", ")
    }

    fn suggestion(&self) -> String {
        let nearest = self.nearest;
        nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
    }
}

/// The environment of a name.
///
/// # Errors
/// No environment has it.
pub fn find(name: &str) -> Result<&'static EnvironmentSpec, UnknownEnvironment> {
    let mut all = ENVIRONMENTS.iter().copied();
    all.find(|spec| spec.name == name)
        .ok_or_else(|| UnknownEnvironment {
            name: name.to_owned(),
            nearest: nearest(name, ENVIRONMENTS.iter().map(|spec| spec.name)),
        })
}

/// The known name that is most like a name, if one is like it at all.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let similarity = |known: &str| strsim::jaro_winkler(&plain(name), &plain(known));
    let known = known.into_iter().map(|known| (known, similarity(known)));
    known
        .filter(|(_, alike)| *alike >= MIN_SIMILARITY)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(known, _)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_environment_is_found_by_its_name() {
        for spec in ENVIRONMENTS {
            assert_eq!(find(spec.name).unwrap().title, spec.title);
        }
        let mut names: Vec<&str> = ENVIRONMENTS.iter().map(|spec| spec.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ENVIRONMENTS.len());
    }

    #[test]
    fn an_unknown_name_is_told_with_all_names_and_the_nearest() {
        let error = find("push-t").unwrap_err();
        assert_eq!(error.nearest, Some("pusht"));
        let message = error.to_string();
        assert!(message.contains("`push-t`"), "{message}");
        assert!(message.contains("did you mean `pusht`?"), "{message}");
        for spec in ENVIRONMENTS {
            assert!(message.contains(spec.name), "{message}");
        }
        assert_eq!(find("chess").unwrap_err().nearest, None);
    }
}
