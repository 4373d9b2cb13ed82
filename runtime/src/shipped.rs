//! Where the weights are that come with the program.

use std::path::{Path, PathBuf};

/// Folder of the shipped Push-T policy, relative to the project.
pub const SHIPPED: &str = "models/pusht-state";

/// Folder of the shipped motion model, relative to the project.
pub const SHIPPED_MOTION: &str = "models/motion-aamdm";

/// Folder of the shipped model of whole clips, relative to the project.
pub const SHIPPED_CLIPS: &str = "models/motion-emdm";

/// A checkpoint folder: as named, or where the shipped weights are (`shipped_with`), so that they are found from any folder.
pub fn locate(named: &Path) -> PathBuf {
    if named.is_absolute() || named.exists() {
        return named.to_path_buf();
    }
    let program = std::env::current_exe().ok();
    let found = program.and_then(|program| shipped_with(&program, named));
    found.unwrap_or_else(|| named.to_path_buf())
}

/// A path that belongs to a program: in a folder above it, as in a checkout that it was built in, or in `share/kinestream`
/// of one, as where it is installed.
fn shipped_with(program: &Path, named: &Path) -> Option<PathBuf> {
    // A user's own relative path must not lead to some folder above the program.
    if !named.starts_with("models") {
        return None;
    }
    let program = program.canonicalize().ok()?;
    let mut folders = program.ancestors().skip(1);
    folders.find_map(|folder| {
        let places = [folder.to_path_buf(), folder.join("share/kinestream")];
        places
            .map(|place| place.join(named))
            .into_iter()
            .find(|path| path.exists())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_weights_are_found_from_the_program_itself() {
        let root = tempfile::tempdir().unwrap();
        let [checkout, installed] = ["checkout", "usr"].map(|name| root.path().join(name));
        for folder in [
            checkout.join("target/release"),
            checkout.join("models/a"),
            installed.join("bin"),
            installed.join("share/kinestream/models/a"),
        ] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let of = |program: &Path, named: &str| {
            std::fs::write(program, "").unwrap();
            let found = shipped_with(program, Path::new(named));
            found.map(|path| {
                path.strip_prefix(root.path().canonicalize().unwrap())
                    .unwrap()
                    .to_owned()
            })
        };
        let built = checkout.join("target/release/kinestream-engine");
        assert_eq!(of(&built, "models/a"), Some("checkout/models/a".into()));
        let packaged = installed.join("bin/kinestream-engine");
        assert_eq!(
            of(&packaged, "models/a"),
            Some("usr/share/kinestream/models/a".into())
        );
        assert_eq!(of(&packaged, "models/absent"), None);
        std::fs::create_dir_all(checkout.join("policies/arm")).unwrap();
        assert_eq!(of(&built, "policies/arm"), None);
    }
}
