//! Which product a configuration is of, and the options of `eval` and `train` that this one has.
//!
//! Headings of the help say whom an option is for. Where a configuration is named, its help shows no others, and one that
//! is given nevertheless is refused.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use toml::{Table, Value};

use crate::Cli;

/// Options for policies alone.
pub(crate) const POLICIES: &str = "Options for policies";
/// Options for steered characters alone.
pub(crate) const CHARACTERS: &str = "Options for characters";
/// Options for models of whole clips alone.
pub(crate) const CLIPS: &str = "Options for whole clips";
/// Options for both.
pub(crate) const POLICIES_AND_CHARACTERS: &str = "Options for policies and characters";
/// Options for both.
pub(crate) const POLICIES_AND_CLIPS: &str = "Options for policies and whole clips";
/// Options for both.
pub(crate) const CHARACTERS_AND_CLIPS: &str = "Options for characters and whole clips";

/// Where to read about one product alone.
pub(crate) const AFTER_HELP: &str = "\
The configuration decides what is trained or scored: a policy, a character or whole clips.
With it the help shows the options that it takes: kinestream eval configs/pusht-state.toml --help";

/// Commands whose options depend on the product.
const COMMANDS: [&str; 2] = ["eval", "train"];

/// What a configuration makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Product {
    Policy,
    Character,
    Clips,
}

impl Product {
    /// What a configuration is of; none where it cannot be read, which the command tells.
    fn of(config: &Path) -> Option<Self> {
        table_of(config)?;
        Some(match (is_clips(config), is_motion(config)) {
            (true, _) => Self::Clips,
            (false, true) => Self::Character,
            (false, false) => Self::Policy,
        })
    }

    /// Its name in headings.
    fn name(self) -> &'static str {
        match self {
            Self::Policy => "policies",
            Self::Character => "characters",
            Self::Clips => "whole clips",
        }
    }

    /// Whether it has the options below a heading.
    fn takes(self, heading: Option<&str>) -> bool {
        heading.is_none_or(|heading| {
            !heading.starts_with("Options for") || heading.contains(self.name())
        })
    }
}

/// Files that a chain of `[base]` has at most.
const MAX_BASES: usize = 16;

/// Whether a configuration is of a motion model.
pub fn is_motion(path: &Path) -> bool {
    table_of(path).is_some_and(|table| table.contains_key("model") || table.contains_key("base"))
}

/// Whether a configuration is of a model of whole clips: it has a table `model.clips`, or takes one from another file.
pub fn is_clips(path: &Path) -> bool {
    has_clips(path, MAX_BASES)
}

fn has_clips(path: &Path, bases: usize) -> bool {
    let Some(table) = table_of(path) else {
        return false;
    };
    if table.get("model").and_then(|it| it.get("clips")).is_some() {
        return true;
    }
    let base = table.get("base");
    let takes = base.and_then(|it| it.get("take")).and_then(Value::as_array);
    let mut names = takes.into_iter().flatten().filter_map(Value::as_str);
    let takes_clips = names.any(|name| name == "model" || name.starts_with("model.clips"));
    let file = base.and_then(|it| it.get("file")).and_then(Value::as_str);
    let folder = path.parent().unwrap_or(Path::new(""));
    bases > 0 && takes_clips && file.is_some_and(|file| has_clips(&folder.join(file), bases - 1))
}

fn table_of(path: &Path) -> Option<Table> {
    std::fs::read_to_string(path).ok()?.parse().ok()
}

/// Reads the command line; ends the program where it asks for help or is wrong. `amend` adds to the commands what this crate
/// does not know.
pub fn parse(amend: impl FnOnce(Command) -> Command) -> Cli {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let parsed = parse_from(&arguments, amend(Cli::command()));
    parsed.unwrap_or_else(|error| error.exit())
}

pub(crate) fn parse_from(arguments: &[OsString], mut command: Command) -> Result<Cli, clap::Error> {
    if let Some((name, config)) = named(arguments)
        && let Some(product) = Product::of(&config)
    {
        command = command.mut_subcommand(name, |command| without_others(command, product));
    }
    let matches = command.try_get_matches_from_mut(arguments)?;
    refuse_others(&mut command, &matches)?;
    Cli::from_arg_matches(&matches)
}

/// The command and the configuration that a command line names before it is parsed, where help asks for no more.
fn named(arguments: &[OsString]) -> Option<(&'static str, PathBuf)> {
    let mut words = arguments.iter().skip(1);
    let command = words.find_map(|word| COMMANDS.into_iter().find(|command| word == command))?;
    let config = words.map(Path::new);
    let config = config
        .into_iter()
        .find(|path| path.extension().is_some_and(|it| it == "toml"))?;
    Some((command, config.to_path_buf()))
}

/// A command whose help shows no options of other products.
fn without_others(command: Command, product: Product) -> Command {
    command.after_help("").mut_args(|option| {
        let hidden = !product.takes(option.get_help_heading());
        option.hide(hidden)
    })
}

/// Refuses options of other products than the configuration's.
fn refuse_others(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name, matches)) = matches.subcommand() else {
        return Ok(());
    };
    if !COMMANDS.contains(&name) {
        return Ok(());
    }
    let Some(config) = matches.get_one::<PathBuf>("config") else {
        return Ok(());
    };
    let Some(product) = Product::of(config) else {
        return Ok(());
    };
    let Some(command) = command.find_subcommand_mut(name) else {
        return Ok(());
    };
    let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let other = command.get_arguments().find(|option| {
        given(option.get_id().as_str()) && !product.takes(option.get_help_heading())
    });
    let Some(option) = other else {
        return Ok(());
    };
    let heading = option.get_help_heading().unwrap_or_default();
    let text = format!(
        "--{} is for {}, and {} is a configuration of {}; `kinestream {name} {} --help` shows its options",
        option.get_long().unwrap_or_default(),
        heading.trim_start_matches("Options for "),
        config.display(),
        product.name(),
        config.display(),
    );
    Err(command.error(ErrorKind::ArgumentConflict, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGS: [(&str, Product); 3] = [
        ("../configs/pusht-state.toml", Product::Policy),
        ("../configs/motion-aamdm.toml", Product::Character),
        ("../configs/motion-emdm.toml", Product::Clips),
    ];

    fn parsed(words: &[&str]) -> Result<Cli, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        parse_from(&words, Cli::command()).map_err(|error| error.to_string())
    }

    #[test]
    fn help_shows_what_the_configuration_takes_and_the_rest_is_refused() {
        for (config, product) in CONFIGS {
            assert_eq!(Product::of(Path::new(config)), Some(product));
            let help = parsed(&["kinestream", "eval", config, "--help"]).unwrap_err();
            for (option, owners) in [
                ("--solver", &[Product::Policy][..]),
                ("--long-run", &[Product::Character]),
                ("--transitions", &[Product::Clips]),
                ("--curve", &[Product::Policy, Product::Clips]),
            ] {
                let takes = owners.contains(&product);
                let mut lines = help.lines().map(str::trim_start);
                let shows = lines.any(|line| line.starts_with(option));
                assert_eq!(shows, takes, "{config} {option}: {help}");
                let words = ["kinestream", "eval", config, option];
                let words = match option {
                    "--solver" => [&words[..], &["ddim"]].concat(),
                    _ => words.to_vec(),
                };
                let found = parsed(&words);
                assert_eq!(found.is_ok(), takes, "{config} {option}: {found:?}");
                if let Err(message) = found {
                    assert!(message.contains(&format!("{option} is for")), "{message}");
                    assert!(message.contains(config), "{message}");
                }
            }
            assert!(help.contains("--threads"), "{help}");
        }
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_for_the_command_to_refuse() {
        let words = ["kinestream", "eval", "configs/absent.toml", "--long-run"];
        assert!(parsed(&words).is_ok());
    }

    #[test]
    fn help_without_a_configuration_shows_all_by_whom_they_are_for() {
        let help = parsed(&["kinestream", "eval", "--help"]).unwrap_err();
        for heading in [POLICIES, CHARACTERS, CLIPS, POLICIES_AND_CLIPS] {
            assert!(help.contains(&format!("{heading}:")), "{help}");
        }
    }
}
