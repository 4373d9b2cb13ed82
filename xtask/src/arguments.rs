//! The command line of `cargo xtask`: what may be asked for, and the help that teaches it.

use crate::package::Package;
use crate::wheels::Kind;
use std::ffi::OsString;

/// Printed by `cargo xtask --help`, and after a wrong usage.
pub(crate) const HELP: &str = "\
Set-up, demo, tests and checks of kinestream. Each command does the set-up it needs.

  cargo xtask demo [ARGS]    build in release mode and run `kinestream demo pusht ARGS`;
                             ARGS may name another demo (demo pusht --headless --episodes 5)
  cargo xtask test [ARGS]    run the whole test suite; with ARGS (a test's name, say) only what
                             they select. Uses cargo-nextest when it is installed, else cargo test
  cargo xtask setup [--cuda | --cpu]
                             only get LibTorch 2.11.0 ready: after it plain `cargo build`,
                             `cargo run` and `cargo nextest run` work in this checkout
  cargo xtask package [--out FOLDER] [--wheel] [--check]
                             make an archive that runs where neither compiler, Python nor LibTorch
                             are, in target/package or FOLDER; --wheel: for pip, too; --check: try it
                             in an empty Debian (as root, with debootstrap)
  cargo xtask clients        run the tests of clients/ against the built program; as root, tools that
                             are missing are installed with apt-get, else their tests are skipped
  cargo xtask ci             everything that is checked of a commit: format, circles of modules,
                             documents, clippy, docs, loom, licenses, clients, tests
  cargo xtask --help         this text

Needed: a C++ compiler and python3 with pip (Debian: apt-get install g++ python3-pip) and
rustc 1.95 or newer (rustup update). Python only downloads; nothing of kinestream runs in it.

Where LibTorch comes from, the first that applies:
  LIBTORCH=/folder           an unpacked LibTorch 2.11.0 of yours, with include/ and lib/
  LIBTORCH_USE_PYTORCH=1     the PyTorch 2.11.0 that python3 imports
  .libtorch                  what an earlier set-up chose, if --cuda or --cpu does not ask for another
  the user's cache           $XDG_CACHE_HOME/kinestream or ~/.cache/kinestream, shared by all checkouts
  a download by pip          0.55 GB for the CPU; --cuda: 2.5 GB, with NVIDIA's libraries for CUDA 13
The checkout reaches it through the link .libtorch.

Exit status: 0 done, 1 failed, 2 wrong usage.";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Print the help.
    Help,
    /// Do something.
    Run(Task),
}

/// One of the commands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Make LibTorch ready, of the given kind if one is asked for.
    Setup(Option<Kind>),
    /// Build and run the demo with these arguments after `demo`.
    Demo(Vec<OsString>),
    /// Run the tests with these arguments for the runner.
    Test(Vec<OsString>),
    /// Run the tests of the clients.
    Clients,
    /// Make an archive that runs elsewhere.
    Package(Package),
    /// Run every check.
    Ci,
}

/// Reads the arguments after `cargo xtask`.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let mut arguments = arguments.peekable();
    let Some(command) = arguments.next() else {
        return Err("a command is missing".into());
    };
    if arguments.peek().is_some_and(is_help) {
        return Ok(Request::Help);
    }
    match command.to_str() {
        Some("setup") => parse_setup(arguments).map(|kind| Request::Run(Task::Setup(kind))),
        Some("demo") => Ok(Request::Run(Task::Demo(demo_arguments(arguments)))),
        Some("test") => Ok(Request::Run(Task::Test(arguments.collect()))),
        Some("clients") => alone("clients", arguments).map(|()| Request::Run(Task::Clients)),
        Some("package") => {
            parse_package(arguments).map(|wanted| Request::Run(Task::Package(wanted)))
        }
        Some("ci") => alone("ci", arguments).map(|()| Request::Run(Task::Ci)),
        Some("help") => Ok(Request::Help),
        _ if is_help(&command) => Ok(Request::Help),
        _ => Err(format!("there is no command {command:?}")),
    }
}

fn is_help(argument: &OsString) -> bool {
    argument == "--help" || argument == "-h"
}

fn alone(command: &str, mut arguments: impl Iterator<Item = OsString>) -> Result<(), String> {
    match arguments.next() {
        None => Ok(()),
        Some(extra) => Err(format!("`{command}` takes no argument, got {extra:?}")),
    }
}

fn parse_setup(arguments: impl Iterator<Item = OsString>) -> Result<Option<Kind>, String> {
    let mut wanted = None;
    for argument in arguments {
        let kind = match argument.to_str() {
            Some("--cuda") => Kind::Cuda,
            Some("--cpu") => Kind::Cpu,
            _ => return Err(format!("`setup` takes --cuda or --cpu, got {argument:?}")),
        };
        if wanted.replace(kind).is_some_and(|earlier| earlier != kind) {
            return Err("`setup` takes --cuda or --cpu, not both".into());
        }
    }
    Ok(wanted)
}

fn parse_package(mut arguments: impl Iterator<Item = OsString>) -> Result<Package, String> {
    let mut wanted = Package::default();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--wheel") => wanted.wheel = true,
            Some("--check") => wanted.check = true,
            Some("--out") => {
                let folder = arguments.next().ok_or("`--out` needs a folder")?;
                wanted.out = Some(folder.into());
            }
            _ => {
                return Err(format!(
                    "`package` takes --out FOLDER, --wheel and --check, got {argument:?}"
                ));
            }
        }
    }
    Ok(wanted)
}

/// `demo` alone, or followed by flags, means the Push-T demo. A leading `--` hands what follows to
/// the program as it stands (`cargo xtask demo -- --help`).
fn demo_arguments(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut given: Vec<OsString> = arguments.collect();
    if given.first().is_some_and(|first| first == "--") {
        given.remove(0);
        return given;
    }
    let names_demo = given
        .first()
        .is_some_and(|first| !first.as_encoded_bytes().starts_with(b"-"));
    if !names_demo {
        given.insert(0, "pusht".into());
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn demo(line: &str) -> Request {
        Request::Run(Task::Demo(
            line.split_whitespace().map(OsString::from).collect(),
        ))
    }

    #[test]
    fn each_command_is_understood() {
        assert_eq!(parse_line("setup"), Ok(Request::Run(Task::Setup(None))));
        assert_eq!(
            parse_line("setup --cuda"),
            Ok(Request::Run(Task::Setup(Some(Kind::Cuda))))
        );
        assert_eq!(parse_line("ci"), Ok(Request::Run(Task::Ci)));
        let package = Package {
            out: Some("dist".into()),
            wheel: true,
            check: false,
        };
        assert_eq!(
            parse_line("package --wheel --out dist"),
            Ok(Request::Run(Task::Package(package)))
        );
        assert_eq!(parse_line("clients"), Ok(Request::Run(Task::Clients)));
        assert_eq!(
            parse_line("test ladder -- --nocapture"),
            Ok(Request::Run(Task::Test(vec![
                "ladder".into(),
                "--".into(),
                "--nocapture".into()
            ])))
        );
    }

    #[test]
    fn the_demo_is_push_t_unless_another_is_named() {
        assert_eq!(parse_line("demo"), Ok(demo("pusht")));
        assert_eq!(
            parse_line("demo --headless --seed 3"),
            Ok(demo("pusht --headless --seed 3"))
        );
        assert_eq!(parse_line("demo motion --json"), Ok(demo("motion --json")));
        assert_eq!(parse_line("demo -- --help"), Ok(demo("--help")));
    }

    #[test]
    fn help_is_found_before_anything_is_done() {
        for line in [
            "--help",
            "-h",
            "help",
            "demo --help",
            "setup -h",
            "ci --help",
        ] {
            assert_eq!(parse_line(line), Ok(Request::Help), "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_refused_and_named() {
        for (line, named) in [
            ("", "missing"),
            ("buidl", "buidl"),
            ("ci now", "now"),
            ("setup --gpu", "--gpu"),
            ("package --rpm", "--rpm"),
            ("package --out", "--out"),
            ("setup --cuda --cpu", "not both"),
        ] {
            let problem = parse_line(line).unwrap_err();
            assert!(problem.contains(named), "{line}: {problem}");
        }
    }
}
