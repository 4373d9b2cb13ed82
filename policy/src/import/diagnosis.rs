//! What a path is that is no checkpoint, and what to name in its place.

use std::path::{Path, PathBuf};

use kinestream_diffusion::weights;

use crate::checkpoint::{CONFIG_FILE, WEIGHTS_FILE};
use crate::data::DatasetFormat;
use crate::{Error, Result};

/// Folders within folders that are searched for a checkpoint.
const DEPTH: usize = 4;
/// Folders that are looked into at most.
const MOST_FOLDERS: usize = 2000;
/// Checkpoints below a folder that are named.
const MOST_NAMED: usize = 3;

/// The text of a file that may be a pointer to a large one in its place.
///
/// # Errors
/// It cannot be read, is empty or such a pointer.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    refuse_placeholder(path, &bytes)?;
    String::from_utf8(bytes)
        .map_err(|_| import(path, "not a text in UTF-8; copy or download it again"))
}

/// Refuses what stands in place of a large file.
///
/// # Errors
/// The bytes are none at all, or a pointer's.
pub(super) fn refuse_placeholder(path: &Path, bytes: &[u8]) -> Result<()> {
    match weights::placeholder(bytes) {
        Some(reason) => Err(import(path, reason)),
        None => Ok(()),
    }
}

/// Why a folder without weights cannot be run.
pub(super) fn without_weights(folder: &Path) -> Error {
    let has = |name: &str| folder.join(name).exists();
    let reason = if has("adapter_model.safetensors") || has("adapter_config.json") {
        format!(
            "{WEIGHTS_FILE} is missing and an adapter is there (adapter_model.safetensors): merge it into its policy first \
             (merge_and_unload of peft) and save the whole policy"
        )
    } else if has("model.safetensors.index.json") {
        format!(
            "{WEIGHTS_FILE} is missing and its weights are in several files (model.safetensors.index.json): save them in one, \
             such as with save_pretrained(..., max_shard_size=\"100GB\")"
        )
    } else if has("pytorch_model.bin") {
        format!(
            "{WEIGHTS_FILE} is missing and weights of before are there (pytorch_model.bin): load the policy in its own program \
             and save it again, as safetensors"
        )
    } else {
        format!("{WEIGHTS_FILE} is missing; download the folder again, with its large files")
    };
    import(folder, reason)
}

/// Why a path is no checkpoint, and which one could be meant.
pub(super) fn no_checkpoint(path: &Path) -> Error {
    let missing = Error::NotACheckpoint {
        path: path.to_path_buf(),
        missing: CONFIG_FILE,
    };
    if !path.exists() {
        return match hub_name(path) {
            Some(name) => import(
                path,
                format!(
                    "there is no such folder, and models of the Hugging Face Hub are not fetched from here: \
                     `hf download {name} --local-dir {}` first, then name that folder",
                    name.rsplit('/').next().unwrap_or("policy")
                ),
            ),
            None => missing,
        };
    }
    if path.is_file() {
        let folder = path.parent().unwrap_or(Path::new("."));
        return if folder.join(CONFIG_FILE).is_file() {
            import(
                path,
                format!(
                    "a file of a checkpoint folder; name the folder, {}",
                    shown(folder)
                ),
            )
        } else {
            import(
                path,
                format!("neither a .ckpt file nor a folder with {CONFIG_FILE}"),
            )
        };
    }
    if let Some(format) = DatasetFormat::detect(path) {
        return import(path, format.to_string());
    }
    let has = |name: &str| path.join(name).exists();
    if has("adapter_config.json") || has("model.safetensors.index.json") {
        return without_weights(path);
    }
    let mut found = Vec::new();
    checkpoints_below(path, DEPTH, &mut MOST_FOLDERS.clone(), &mut found);
    found.sort();
    match &found[..] {
        [] => missing,
        [only] => import(
            path,
            format!("no checkpoint, but one is within it: name {}", shown(only)),
        ),
        several => import(
            path,
            format!(
                "no checkpoint, but {} are within it: name one, such as {}",
                several.len(),
                several
                    .iter()
                    .rev()
                    .take(MOST_NAMED)
                    .map(|one| shown(one))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ),
    }
}

fn checkpoints_below(folder: &Path, depth: usize, left: &mut usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if *left == 0 {
            return;
        }
        // Links, such as `last`, count; what they lead to is not searched twice, since depth is bounded.
        if path.join(CONFIG_FILE).is_file() {
            found.push(path);
        } else if depth > 1 && path.is_dir() {
            *left -= 1;
            checkpoints_below(&path, depth - 1, left, found);
        }
    }
}

/// The name of a model on the Hub, `owner/name`, if a path that is not there looks like one.
fn hub_name(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let text = text
        .trim_start_matches("hf://")
        .trim_start_matches("https://huggingface.co/");
    let mut parts = text.split('/');
    let (Some(owner), Some(name), None) = (parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
    };
    // A folder `owner` here means that a path was meant.
    (is_name(owner) && is_name(name) && !Path::new(owner).exists()).then_some(text)
}

fn import(path: &Path, reason: impl Into<String>) -> Error {
    Error::Import {
        path: path.to_path_buf(),
        reason: reason.into(),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &Path) -> String {
        no_checkpoint(path).to_string()
    }

    #[test]
    fn what_is_meant_is_named() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let write = |name: &str, text: &str| {
            let path = at(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("run/checkpoints/last/pretrained_model/config.json", "{}");
        let message = told(&at("run"));
        assert!(
            message.ends_with("run/checkpoints/last/pretrained_model"),
            "{message}"
        );
        write("run/checkpoints/010000/pretrained_model/config.json", "{}");
        assert!(
            told(&at("run")).contains("but 2 are within it"),
            "{}",
            told(&at("run"))
        );
        write(
            "run/checkpoints/last/pretrained_model/model.safetensors",
            "x",
        );
        let message = told(&at(
            "run/checkpoints/last/pretrained_model/model.safetensors",
        ));
        assert!(message.contains("name the folder"), "{message}");
        write("set/meta/info.json", "{}");
        assert!(told(&at("set")).contains("LeRobot"), "{}", told(&at("set")));
        write("lora/adapter_config.json", "{}");
        assert!(told(&at("lora")).contains("merge it into its policy first"));
        write("empty/readme", "");
        assert!(told(&at("empty")).contains("not a checkpoint folder"));
        assert!(told(&at("absent")).contains("config.json is missing"));
        let message = told(Path::new("lerobot/diffusion_pusht"));
        assert!(
            message.contains("hf download lerobot/diffusion_pusht --local-dir diffusion_pusht"),
            "{message}"
        );
    }
}
