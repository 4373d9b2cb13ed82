//! Documents that hold: links lead to files and headings that are there, tables have as many cells in every row, and
//! commands of xtask, scripts and files that are named in blocks exist.
//!
//! The commands of the program itself are checked by a test of `src/cli`, which has its arguments.

use crate::{Outcome, arguments, markdown};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders of others, or of a build.
const SKIPPED_FOLDERS: [&str; 3] = ["target", "node_modules", "venv"];

/// Refuses whatever does not hold in the documents below `root`, all of it at once.
pub(crate) fn check(root: &Path) -> Outcome {
    let mut problems = Vec::new();
    for path in documents(root)? {
        let text = read(&path)?;
        let name = path.strip_prefix(root).unwrap_or(&path);
        let mut add = |line: usize, problem: String| {
            problems.push(format!("{}:{line}: {problem}", name.display()));
        };
        for (line, target) in links(&text) {
            if let Some(problem) = dead_link(&path, &text, &target) {
                add(line, problem);
            }
        }
        for (line, problem) in uneven_rows(&text) {
            add(line, problem);
        }
        for (line, problem) in unknown_commands(root, name, &text) {
            add(line, problem);
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems.join("\n")),
    }
}

fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// All Markdown files below a folder but those of hidden folders.
fn documents(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let failed = |error| format!("cannot read {}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            found.extend(documents(&path)?);
        } else if kind.is_file() && name.ends_with(".md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The targets of all links and pictures, outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for line in markdown::lines(text).iter().filter(|line| !line.is_code) {
        let prose = without_code(line.text);
        let mut rest = prose.as_str();
        while let Some((_, behind)) = rest.split_once("](") {
            let Some((target, behind)) = behind.split_once(')') else {
                break;
            };
            found.push((line.number, target.to_owned()));
            rest = behind;
        }
    }
    found
}

/// A line with what stands between backticks left out.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// What is wrong with a link of a document, if anything is; addresses on the network are not asked for.
fn dead_link(document: &Path, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = match target.split_once('#') {
        Some((file, heading)) => (file, Some(heading)),
        None => (target, None),
    };
    let path = document.parent().unwrap_or(document).join(file);
    if !file.is_empty() && !path.exists() {
        return Some(format!("the link to {target} leads to no file"));
    }
    let heading = heading?;
    let other;
    let text = match file.is_empty() {
        true => text,
        false => {
            other = read(&path).ok()?;
            &other
        }
    };
    let is_known = !file.is_empty() && !file.ends_with(".md") || anchors(text).contains(heading);
    (!is_known).then(|| format!("the link to {target} leads to no heading"))
}

/// The names under which GitHub reaches a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in markdown::lines(text).iter().filter(|line| !line.is_code) {
        let title = line.text.trim_start_matches('#');
        if title.len() == line.text.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|letter| match letter {
                ' ' => Some('-'),
                '-' | '_' => Some(letter),
                _ => letter.is_alphanumeric().then_some(letter),
            })
            .collect();
        let mut name = anchor.clone();
        let mut count = 0;
        while !anchors.insert(name) {
            count += 1;
            name = format!("{anchor}-{count}");
        }
    }
    anchors
}

/// Rows of tables that have another number of cells than their heads, which GitHub cuts or fills.
fn uneven_rows(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut head: Option<usize> = None;
    for line in markdown::lines(text) {
        let row = line.text.trim();
        if line.is_code || !row.starts_with('|') {
            head = None;
            continue;
        }
        let cells = row.replace("\\|", "").matches('|').count() - 1;
        match head {
            Some(expected) if cells != expected => found.push((
                line.number,
                format!("the row has {cells} cells, its table's head {expected}"),
            )),
            Some(_) => {}
            None => head = Some(cells),
        }
    }
    found
}

/// Commands of xtask that it would refuse, and, in what is typed from the checkout, scripts and files that are not there.
fn unknown_commands(root: &Path, name: &Path, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for command in markdown::commands(text, &["cargo", "xtask"]) {
        let arguments = command.words.iter().skip(2).map(Into::into);
        if arguments.len() > 0
            && let Err(problem) = arguments::parse(arguments)
        {
            found.push((command.line, problem));
        }
    }
    if !(name.starts_with("docs") || name.components().count() == 1) {
        return found;
    }
    for command in markdown::commands(text, &[]) {
        let files = command.words.iter().filter(|word| {
            let folders = ["configs/", "models/", "clients/", "tests/", "bridge/"];
            command.is_in_block && folders.iter().any(|folder| word.starts_with(folder))
        });
        for file in files.filter(|file| !root.join(file).exists()) {
            found.push((command.line, format!("there is no {file}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_of_the_project_hold() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        if let Err(problems) = check(root) {
            panic!("\n{problems}");
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let folder =
            std::env::temp_dir().join(format!("kinestream-documents-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let text = "# A `title`, twice\n\n# A title twice\n[a](b.md) `[code](c.md)` ![p](p.png) [web](https://x.org/#y)\n\
                    [first](#a-title-twice) [second](#a-title-twice-1) [none](#a-title)\n\n    [block](d.md)\n";
        std::fs::write(folder.join("a.md"), text).unwrap();
        let problems = check(&folder).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        let expected = [
            "a.md:4: the link to b.md leads to no file",
            "a.md:4: the link to p.png leads to no file",
            "a.md:5: the link to #a-title leads to no heading",
        ];
        assert_eq!(problems, expected.join("\n"));
    }

    #[test]
    fn rows_and_commands_that_do_not_fit_are_found() {
        let table = "| a | b |\n|---|---|\n| 1 | `x\\|y` |\n| 1 |\n";
        let found = uneven_rows(table);
        assert_eq!(
            found,
            [(4, "the row has 1 cells, its table's head 2".to_owned())]
        );
        let text = "\n    cargo xtask setup --gpu\n    cargo xtask demo\n    python3 tests/none.py\n\n`cargo xtask`\n";
        let found = unknown_commands(Path::new("."), Path::new("a.md"), text);
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 4], "{found:?}");
    }
}
