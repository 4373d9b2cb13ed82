//! The user's cache folder, which all checkouts share.

use crate::Outcome;
use std::ffi::OsString;
use std::path::PathBuf;

/// `$XDG_CACHE_HOME/kinestream`, else `~/.cache/kinestream`. It need not exist yet.
pub(crate) fn folder() -> Outcome<PathBuf> {
    choose(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))
        .ok_or_else(|| "no place for a cache: set HOME or XDG_CACHE_HOME".into())
}

/// A relative XDG_CACHE_HOME is to be ignored, says the XDG base directory specification.
fn choose(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    xdg.and_then(absolute)
        .or_else(|| Some(home.and_then(absolute)?.join(".cache")))
        .map(|cache| cache.join("kinestream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xdg_folder_goes_before_home() {
        let chosen = choose(Some("/big/cache".into()), Some("/home/ada".into()));
        assert_eq!(chosen, Some("/big/cache/kinestream".into()));
        for ignored in [None, Some("relative".into()), Some("".into())] {
            let chosen = choose(ignored, Some("/home/ada".into()));
            assert_eq!(chosen, Some("/home/ada/.cache/kinestream".into()));
        }
        assert_eq!(choose(None, None), None);
    }
}
