//! `kinestream completions` and `man`: what shells and `man` are told of the command line.

use std::io::{Result, Write};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::Cli;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kinestream completions bash > ~/.local/share/bash-completion/completions/kinestream
  kinestream completions zsh > ~/.zfunc/_kinestream          # with fpath+=~/.zfunc before compinit
  kinestream completions fish > ~/.config/fish/completions/kinestream.fish")]
pub struct CompletionsArguments {
    /// The shell.
    pub shell: Shell,
}

impl CompletionsArguments {
    /// Prints the script for the shell on stdout.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn run(&self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kinestream", &mut script);
        std::io::stdout().write_all(&script)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kinestream man | man -l -
  kinestream man --out ~/.local/share/man/man1")]
pub struct ManualArguments {
    /// Write a page for every command to this folder, made if missing; the page of the program alone goes to stdout by
    /// default.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

impl ManualArguments {
    /// Writes the pages.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn run(&self) -> Result<()> {
        match &self.out {
            Some(folder) => write_pages(folder),
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(Cli::command()).render(&mut page)?;
                std::io::stdout().write_all(&page)
            }
        }
    }
}

fn write_pages(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        write_pages(folder.path()).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page("kinestream.1").contains("kinestream\\-demo(1)"));
        for command in Cli::command().get_subcommands() {
            let page = page(&format!("kinestream-{}.1", command.get_name()));
            assert!(page.starts_with(".ie"), "{page}");
        }
        assert!(page("kinestream-bench-policy.1").contains("seconds"));
    }

    #[test]
    fn every_shell_is_told_of_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kinestream", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}");
            }
            assert!(script.contains("print-config"), "{shell}");
        }
    }
}
