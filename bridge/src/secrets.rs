//! Words that no log may hold: passwords of sessions, tokens of ports.
//!
//! Libraries log what they are configured with at levels of their own choosing, so a program that logs
//! asks [`occur_in`] about every event before it writes it. Words are kept for the life of the process and
//! never given back.

use std::sync::{PoisonError, RwLock};

/// Shorter words would keep half the log out, and are no secrets.
const LEAST: usize = 4;
/// Words kept at most; a password file is short.
const MOST: usize = 4096;

static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Keeps a word out of the log from now on. Words of fewer than four bytes are not kept.
pub fn keep(secret: &str) {
    if secret.len() < LEAST {
        return;
    }
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for form in forms(secret) {
        if secrets.len() < MOST && !secrets.contains(&form) {
            secrets.push(form);
        }
    }
}

/// Whether any of the kept words stands in a text, plainly or as `Debug` and JSON write it.
#[must_use]
pub fn occur_in(text: &str) -> bool {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    secrets.iter().any(|secret| text.contains(secret))
}

/// Whether there is any word to look for.
#[must_use]
pub fn are_kept() -> bool {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    !secrets.is_empty()
}

/// A word as it is, and as texts within texts escape it.
fn forms(secret: &str) -> impl Iterator<Item = String> {
    let quoted = format!("{secret:?}");
    let escaped = quoted[1..quoted.len() - 1].to_owned();
    let twice = format!("{escaped:?}");
    let twice = twice[1..twice.len() - 1].to_owned();
    [secret.to_owned(), escaped, twice].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_whatever_form_it_is_written() {
        let secret = "tulip\"and\\rose";
        assert!(!occur_in(secret));
        keep(secret);
        assert!(are_kept());
        assert!(occur_in(&format!("password: {secret}.")));
        assert!(occur_in(&format!("Config {{ password: {secret:?} }}")));
        let json = serde_json::json!({ "password": secret }).to_string();
        assert!(occur_in(&json));
        assert!(occur_in(&format!("{json:?}")));
        assert!(!occur_in("tulip and rose"));
        keep("abc");
        assert!(!occur_in("abc"));
    }
}
