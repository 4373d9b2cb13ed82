//! What programs and libraries ask of the system, as `readelf` of binutils tells it.

use crate::{Outcome, steps};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The libraries of `folder` that `program` needs, and those that these need in turn.
pub(super) fn libraries(program: &Path, folder: &Path) -> Outcome<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let mut open: Vec<PathBuf> = vec![program.to_path_buf()];
    while let Some(path) = open.pop() {
        for name in needed(&readelf("--dynamic", &path)?) {
            let library = folder.join(&name);
            if library.is_file() && !found.contains(&name) {
                found.push(name);
                open.push(library);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The newest glibc, as major and minor release, that any of the files asks for.
pub(super) fn glibc_floor(files: &[PathBuf]) -> Outcome<(u32, u32)> {
    let mut floor = (2, 0);
    for file in files {
        floor = floor.max(newest_glibc(&readelf("--version-info", file)?));
    }
    Ok(floor)
}

fn readelf(what: &str, file: &Path) -> Outcome<String> {
    let mut readelf = Command::new("readelf");
    readelf.env("LC_ALL", "C").args(["--wide", what]).arg(file);
    steps::output_of(&mut readelf).ok_or_else(|| {
        format!(
            "`readelf {what} {}` failed (Debian: apt-get install binutils)",
            file.display()
        )
    })
}

/// The names in lines such as `(NEEDED) Shared library: [libc.so.6]`.
fn needed(dynamic: &str) -> Vec<String> {
    let lines = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    lines
        .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned()))
        .collect()
}

/// The highest of the versions named as in `Name: GLIBC_2.34`.
fn newest_glibc(versions: &str) -> (u32, u32) {
    let named = versions.split("GLIBC_").skip(1);
    let numbers = named.filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let mut parts = rest[..end.unwrap_or(rest.len())].split('.');
        let number = |part: Option<&str>| part?.parse::<u32>().ok();
        Some((number(parts.next())?, number(parts.next())?))
    });
    numbers.max().unwrap_or((2, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_libraries_and_the_newest_glibc_are_read() {
        let dynamic = " 0x01 (NEEDED)  Shared library: [libtorch_cpu.so]\n\
                       0x1d (RUNPATH) Library runpath: [$ORIGIN/../lib/kinestream]\n\
                       0x01 (NEEDED)  Shared library: [libc.so.6]\n";
        assert_eq!(needed(dynamic), ["libtorch_cpu.so", "libc.so.6"]);
        let versions = "  0x0010:   Name: GLIBC_2.9  Flags: none  Version: 7\n\
                        0x0020:   Name: GLIBC_2.34  Flags: WEAK  Version: 6\n\
                        0x0030:   Name: GLIBC_2.2.5  Flags: none\n\
                        0x0040:   Name: GLIBCXX_3.4.30  Flags: none\n\
                        0x0050:   Name: GLIBC_PRIVATE\n";
        assert_eq!(newest_glibc(versions), (2, 34));
        assert_eq!(newest_glibc(""), (2, 0));
    }
}
