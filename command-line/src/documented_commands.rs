//! Every command that the documents show is one that the program takes.

#[path = "../../xtask/src/markdown.rs"]
mod markdown;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::Cli;
use crate::product::parse_from;

/// Documents of people who may not have a checkout: whatever they are told to type is checked.
fn documents() -> Vec<PathBuf> {
    let root = checkout();
    let folders = [
        "",
        "docs",
        "clients",
        "clients/python",
        "clients/csharp",
        "clients/javascript",
    ];
    let folders = folders
        .into_iter()
        .chain(["clients/godot", "configs/secure"]);
    let models = std::fs::read_dir(root.join("models")).unwrap();
    let models = models.map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for folder in folders.map(|folder| root.join(folder)).chain(models) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Why a command is none of the program's, if it is none. Within a sentence it need not be complete.
fn refusal(command: &markdown::DocumentedCommand) -> Option<String> {
    // Whose options a configuration takes is read from it.
    let in_checkout = |word: &String| {
        let path = checkout().join(word);
        match word.ends_with(".toml") && path.is_file() {
            true => path.into_os_string(),
            false => OsString::from(word),
        }
    };
    let words: Vec<OsString> = command.words.iter().map(in_checkout).collect();
    let error = parse_from(&words, Cli::command()).err()?;
    let is_fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !command.is_in_block,
        // `kinestream COMMAND --help`
        ErrorKind::InvalidSubcommand => {
            let name = command.words.get(1).map_or("", String::as_str);
            !command.is_in_block && name == name.to_uppercase()
        }
        _ => false,
    };
    (!is_fine).then(|| {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    })
}

#[test]
fn every_command_of_the_documents_is_taken() {
    let mut problems = Vec::new();
    let mut count = 0;
    for path in documents() {
        let text = std::fs::read_to_string(&path).unwrap();
        for command in markdown::commands(&text, &["kinestream"]) {
            count += 1;
            if let Some(problem) = refusal(&command) {
                let line = command.line;
                let typed = command.words.join(" ");
                problems.push(format!("{}:{line}: `{typed}`: {problem}", path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    // A reader that finds nothing would find no fault either.
    assert!(count > 100, "{count}");
}

#[test]
fn commands_that_are_not_taken_are_told() {
    let text = "\n    kinestream run\n    kinestream run a.toml --fast\n    kinestream eval configs/motion-aamdm.toml --chunk\n\
                \n`kinestream run`, `kinestream NAME --help`, `kinestream fly`, `kinestream eval configs/motion-aamdm.toml`\n";
    let found = markdown::commands(text, &["kinestream"]);
    let refused: Vec<_> = found
        .iter()
        .filter(|command| refusal(command).is_some())
        .collect();
    let refused: Vec<_> = refused
        .iter()
        .map(|command| command.words[1..].join(" "))
        .collect();
    let expected = [
        "run",
        "run a.toml --fast",
        "eval configs/motion-aamdm.toml --chunk",
        "fly",
    ];
    assert_eq!(refused, expected);
}
