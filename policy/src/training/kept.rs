//! The last checkpoints of a run, kept beside the newest: `step-9000`, `step-9500` and so on.

use std::path::Path;

use crate::{Error, Result};

/// What the names of their folders begin with; the step follows.
pub(super) const STEP_FOLDER: &str = "step-";

/// Removes all but the `kept` last ones from the output folder. Whatever else is there stays.
///
/// # Errors
/// The folder cannot be read, or one of them not be removed.
pub(super) fn prune(out: &Path, kept: usize) -> Result<()> {
    let mut steps: Vec<u64> = std::fs::read_dir(out)
        .map_err(Error::io(out))?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix(STEP_FOLDER)?.parse().ok()
        })
        .collect();
    steps.sort_unstable();
    let superseded = steps.len().saturating_sub(kept);
    for step in &steps[..superseded] {
        let folder = out.join(format!("{STEP_FOLDER}{step}"));
        std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_stay_and_what_is_not_theirs() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["step-500", "step-1000", "step-10000", "step-x", "best"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        prune(folder.path(), 3).unwrap();
        prune(folder.path(), 2).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["best", "step-1000", "step-10000", "step-x"]);
    }
}
