//! Free disk space, as `df` of POSIX reports it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room that a folder must have.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    /// The folder; it need not exist yet.
    pub folder: PathBuf,
    /// Bytes that will be written there at most.
    pub bytes: u64,
    /// What a person can do when there is too little.
    pub remedy: String,
}

/// Each shortage in words; folders on one file system share its room. A file system that `df`
/// cannot tell about is taken to have enough.
pub(crate) fn shortages(demands: &[Demand]) -> Vec<String> {
    let mut file_systems: Vec<(u64, PathBuf, u64, Vec<String>)> = Vec::new();
    for demand in demands {
        let Some((folder, device)) = existing_ancestor(&demand.folder) else {
            continue;
        };
        match file_systems.iter_mut().find(|known| known.0 == device) {
            Some(known) => {
                known.2 += demand.bytes;
                known.3.push(demand.remedy.clone());
            }
            None => {
                let remedies = vec![demand.remedy.clone()];
                file_systems.push((device, folder, demand.bytes, remedies));
            }
        }
    }
    let mut found = Vec::new();
    for (_, folder, needed, remedies) in file_systems {
        if let Some(free) = free_bytes(&folder)
            && free < needed
        {
            found.push(format!(
                "only {} free, {} needed, on the disk of {} (make room, {})",
                gigabytes(free),
                gigabytes(needed),
                folder.display(),
                remedies.join(" or ")
            ));
        }
    }
    found
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// The nearest folder at or above `path` that exists, and its file system.
fn existing_ancestor(path: &Path) -> Option<(PathBuf, u64)> {
    path.ancestors().find_map(|folder| {
        let device = folder.metadata().ok()?.dev();
        Some((folder.to_path_buf(), device))
    })
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df")
        .env("LC_ALL", "C")
        .arg("-Pk")
        .arg(folder)
        .output()
        .ok()?;
    parse_df(&String::from_utf8_lossy(&output.stdout))
}

/// The available bytes in the output of `df -Pk FOLDER`: the number before the capacity in
/// percent, since the names before and after may hold spaces.
fn parse_df(output: &str) -> Option<u64> {
    let fields: Vec<&str> = output.lines().nth(1)?.split_whitespace().collect();
    let capacity = (2..fields.len()).find(|&index| {
        let number = fields[index].strip_suffix('%');
        let is_capacity = number.is_some_and(|digits| digits.parse::<u32>().is_ok());
        is_capacity && fields[index - 1].parse::<u64>().is_ok()
    })?;
    fields[capacity - 1].parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn df_is_read_whatever_the_names_hold() {
        let usual = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                     /dev/vda         263174212 15728640  80530636      17% /\n";
        assert_eq!(parse_df(usual), Some(80_530_636 * 1024));
        let spaces = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                      //host/my 10 share 1000 400 600 40% /mnt/my disk 5%\n";
        assert_eq!(parse_df(spaces), Some(600 * 1024));
    }

    #[test]
    fn what_is_not_df_tells_nothing() {
        assert_eq!(parse_df(""), None);
        assert_eq!(parse_df("df: /nowhere: No such file or directory\n"), None);
        assert_eq!(parse_df("Filesystem\nproc - - - - /proc\n"), None);
    }

    #[test]
    fn folders_on_one_file_system_share_its_room() {
        let root = std::env::temp_dir();
        let half = free_bytes(&root).unwrap() / 2 + (1 << 30);
        let demand = |name: &str, bytes: u64| Demand {
            folder: root.join("kinestream-not-there").join(name),
            bytes,
            remedy: format!("move {name}"),
        };
        assert!(shortages(&[demand("a", 1)]).is_empty());
        let found = shortages(&[demand("a", half), demand("b", half)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("move a or move b"), "{found:?}");
    }
}
