//! Values of another program's configuration by their paths. Everything that is missing or wrong is
//! collected, so that all of it is reported at once.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A configuration, and what is wrong with it.
pub(super) struct Fields<'a> {
    root: &'a Value,
    /// What the root is called in messages.
    name: &'static str,
    problems: Vec<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(root: &'a Value, name: &'static str) -> Self {
        Self {
            root,
            name,
            problems: Vec::new(),
        }
    }

    /// The value at a path of keys with dots between them; null counts as absent.
    pub(super) fn find(&self, path: &str) -> Option<&'a Value> {
        path.split('.')
            .try_fold(self.root, |value, key| value.get(key))
            .filter(|value| !value.is_null())
    }

    /// Whether null stands at a path.
    pub(super) fn is_null(&self, path: &str) -> bool {
        let mut keys = path.split('.');
        let found = keys.try_fold(self.root, |value, key| value.get(key));
        found.is_some_and(Value::is_null)
    }

    /// A string at a path.
    pub(super) fn text(&self, path: &str) -> Option<&'a str> {
        self.find(path)?.as_str()
    }

    /// Notes something that is wrong.
    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Notes that the value at a path is another one than expected.
    pub(super) fn unexpected(&mut self, path: &str, expected: &str) {
        let found = match self.find(path) {
            Some(value) => format!("is {value}"),
            None => "is missing".into(),
        };
        let name = self.name;
        self.problem(format!("`{name}.{path}` {found}, expected {expected}"));
    }

    /// A value that has to be there.
    pub(super) fn required<T: DeserializeOwned + Default>(
        &mut self,
        path: &str,
        expected: &str,
    ) -> T {
        let found = self.find(path).map(T::deserialize).and_then(Result::ok);
        found.unwrap_or_else(|| {
            self.unexpected(path, expected);
            T::default()
        })
    }

    /// A value that may be absent.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        path: &str,
        expected: &str,
        default: T,
    ) -> T {
        let Some(value) = self.find(path) else {
            return default;
        };
        T::deserialize(value).unwrap_or_else(|_| {
            self.unexpected(path, expected);
            default
        })
    }

    /// One of some names, which may be absent; the first of them if it is another.
    pub(super) fn named<T: Copy>(&mut self, path: &str, known: &[(&str, T)], default: &str) -> T {
        let found = match self.find(path) {
            Some(value) => value.as_str(),
            None => Some(default),
        };
        match known.iter().find(|(name, _)| Some(*name) == found) {
            Some((_, value)) => *value,
            None => {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                self.unexpected(path, &names.join(" or "));
                known[0].1
            }
        }
    }

    /// Everything that is wrong.
    pub(super) fn finish(self) -> Vec<String> {
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_collected() {
        let root = serde_json::json!({"a": {"b": 3, "c": "x", "d": null}, "e": [1, "y"]});
        let mut fields = Fields::new(&root, "cfg");
        assert_eq!(fields.required::<usize>("a.b", "a number"), 3);
        assert_eq!(fields.optional("a.d", "a number", 5), 5);
        assert_eq!(fields.named("a.c", &[("w", 1), ("x", 2)], "w"), 2);
        assert_eq!(fields.named("a.d", &[("w", 1), ("x", 2)], "x"), 2);
        assert_eq!(fields.required::<Vec<i64>>("e", "numbers"), [0_i64; 0]);
        assert_eq!(fields.required::<usize>("a.d", "a number"), 0);
        assert_eq!(fields.named("a.c", &[("w", 1)], "w"), 1);
        assert_eq!(
            fields.finish(),
            [
                "`cfg.e` is [1,\"y\"], expected numbers",
                "`cfg.a.d` is missing, expected a number",
                "`cfg.a.c` is \"x\", expected w",
            ]
        );
    }
}
