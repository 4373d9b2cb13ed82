//! `kinestream stop`, `pause`, `resume` and `home`: requests to running robots, repeated until they are confirmed.

use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kinestream_bridge::node::MotionRequest;
use kinestream_bridge::stop_socket::{stop_at, stop_socket_path};
use kinestream_bridge::{Keys, Node, NodeError, SessionOptions};
use kinestream_command_line::request::{RequestArguments, RequestCommand};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Name of these programs among a robot's nodes.
const NAME: &str = "request";
/// How long one question waits for its answer before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(1500);
/// How long a thread waits after a failure before it tries again.
const RETRY: Duration = Duration::from_millis(50);

/// What a request needs of a configuration. Other keys are of no concern here, right or wrong: a mistyped limit must not
/// keep a robot from being stopped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Whereabouts {
    session: SessionOptions,
    runtime: RobotNames,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RobotNames {
    robot: String,
    robots: Vec<String>,
}

impl Default for RobotNames {
    fn default() -> Self {
        Self {
            robot: "pusht".to_owned(),
            robots: Vec::new(),
        }
    }
}

impl Whereabouts {
    fn read(path: &Path) -> Result<Self> {
        let named = match path.is_dir() {
            // What `kinestream import` writes into the folder of a policy.
            true => path.join("run.toml"),
            false => path.to_owned(),
        };
        let text = std::fs::read_to_string(&named)
            .with_context(|| format!("cannot read the configuration {}", named.display()))?;
        let mut found: Self = toml::from_str(&text).with_context(|| named.display().to_string())?;
        let folder = named.parent().unwrap_or(Path::new(""));
        found.session = found.session.from_file_in(folder);
        Ok(found)
    }

    fn robots(&self, asked: Option<&String>) -> Vec<String> {
        match asked {
            Some(robot) => vec![robot.clone()],
            None if self.runtime.robots.is_empty() => vec![self.runtime.robot.clone()],
            None => self.runtime.robots.clone(),
        }
    }
}

/// What became of one robot's request at one address.
struct Outcome {
    robot: usize,
    result: Result<Value, String>,
    /// Whether the robot's runtime has decided, for or against.
    is_decided: bool,
}

pub(crate) fn run(command: &RequestCommand) -> Result<()> {
    let (request, arguments) = match command {
        RequestCommand::Stop(stop) if stop.rearm => (MotionRequest::Rearm, &stop.common),
        RequestCommand::Stop(stop) => (MotionRequest::Stop, &stop.common),
        RequestCommand::Pause(arguments) => (MotionRequest::Pause, arguments),
        RequestCommand::Resume(arguments) => (MotionRequest::Resume, arguments),
        RequestCommand::Home(arguments) => (MotionRequest::Home, arguments),
    };
    let config = Whereabouts::read(&arguments.config)?;
    let robots = config.robots(arguments.robot.as_ref());
    for robot in &robots {
        Keys::new(&config.session.namespace, robot)?;
    }
    let clients = config.session.clients();
    ensure!(
        clients.iter().any(|client| !client.connect.is_empty()
            || client.multicast == Some(true)
            || client.config_file.is_some()),
        "{}: [session] names no way to the runtime; add for example listen = [\"tcp/127.0.0.1:7447\"]",
        arguments.config.display()
    );
    let limit = Duration::from_secs_f64(arguments.limit);
    let (sender, outcomes) = channel();
    // Every address at the same time: nobody is left running while another does not answer.
    for client in clients {
        let (robots, sender) = (robots.clone(), sender.clone());
        std::thread::spawn(move || ask_all(&client, &robots, request, limit, &sender));
    }
    if request == MotionRequest::Stop {
        stop_on_this_machine(&config.session, &robots, limit, &sender);
    }
    drop(sender);
    let states = gather(&outcomes, &robots, limit);
    tell(&states, &robots, &config, arguments, request)
}

/// Asks the runtimes on this machine, which need no session for it.
fn stop_on_this_machine(
    session: &SessionOptions,
    robots: &[String],
    limit: Duration,
    outcomes: &Sender<Outcome>,
) {
    for (robot, name) in robots.iter().enumerate() {
        let path = stop_socket_path(session, name);
        if !path.exists() {
            continue;
        }
        let outcomes = outcomes.clone();
        std::thread::spawn(move || {
            if let Ok(state) = stop_at(&path, limit)
                && is_stopped(&state)
            {
                let outcome = Outcome {
                    robot,
                    result: Ok(state),
                    is_decided: true,
                };
                let _ = outcomes.send(outcome);
            }
        });
    }
}

/// Opens one session, as often as it takes, and asks for every robot in it.
fn ask_all(
    client: &SessionOptions,
    robots: &[String],
    request: MotionRequest,
    limit: Duration,
    outcomes: &Sender<Outcome>,
) {
    let begun = Instant::now();
    let report = |robot: usize, result: Result<Value, String>, is_decided: bool| {
        let outcome = Outcome {
            robot,
            result,
            is_decided,
        };
        let _ = outcomes.send(outcome);
    };
    let first = loop {
        match Node::open(client, &robots[0], NAME) {
            Ok(node) => break node,
            Err(error) => {
                let fatal = !matches!(error, NodeError::Open { .. });
                for robot in 0..robots.len() {
                    report(robot, Err(error.to_string()), false);
                }
                if fatal || begun.elapsed() >= limit {
                    return;
                }
                std::thread::sleep(RETRY);
            }
        }
    };
    std::thread::scope(|scope| {
        for (at, robot) in robots.iter().enumerate() {
            let (first, report) = (&first, &report);
            scope.spawn(move || {
                let keys = Keys::new(&client.namespace, robot);
                let node = keys
                    .map_err(NodeError::from)
                    .and_then(|keys| first.for_robot(keys));
                match node {
                    Ok(node) => ask(&node, request, begun + limit, &|result, is_decided| {
                        report(at, result, is_decided);
                    }),
                    Err(error) => report(at, Err(error.to_string()), false),
                }
            });
        }
    });
}

/// Asks one robot's runtime until it has confirmed.
fn ask(
    node: &Node,
    request: MotionRequest,
    until: Instant,
    report: &dyn Fn(Result<Value, String>, bool),
) {
    while Instant::now() < until {
        if request == MotionRequest::Stop {
            // Whoever hears this stops, also one that cannot answer.
            let _ = node.send_stop();
        }
        let left = until.saturating_duration_since(Instant::now());
        match node.request_motion(request, left.min(ASK_AGAIN)) {
            Ok(Some(state)) if request != MotionRequest::Stop || is_stopped(&state) => {
                return report(Ok(state), true);
            }
            Ok(Some(state)) => report(Err(format!("it answers {state}")), false),
            Ok(None) => report(Err("nobody answered".to_owned()), false),
            // A refusal is an answer.
            Err(NodeError::Reply { reason, .. }) if request != MotionRequest::Stop => {
                return report(Err(format!("refused: {reason}")), true);
            }
            Err(error) => report(Err(error.to_string()), false),
        }
        std::thread::sleep(RETRY);
    }
}

fn is_stopped(state: &Value) -> bool {
    state.get("rung").and_then(Value::as_str) == Some("emergency_stop")
}

/// What is known of every robot once all have confirmed, all addresses have given up, or the time is over.
fn gather(
    outcomes: &Receiver<Outcome>,
    robots: &[String],
    limit: Duration,
) -> Vec<Result<Value, String>> {
    let begun = Instant::now();
    let mut states: Vec<Result<Value, String>> =
        vec![Err("nobody answered".to_owned()); robots.len()];
    let mut refused = vec![false; robots.len()];
    while states
        .iter()
        .zip(&refused)
        .any(|(state, refused)| state.is_err() && !refused)
    {
        let left = limit.saturating_sub(begun.elapsed());
        let Ok(outcome) = outcomes.recv_timeout(left) else {
            break;
        };
        let Outcome {
            robot,
            result,
            is_decided,
        } = outcome;
        // Another address may have confirmed already.
        if states[robot].is_err() {
            refused[robot] |= is_decided && result.is_err();
            states[robot] = result;
        }
    }
    states
}

fn tell(
    states: &[Result<Value, String>],
    robots: &[String],
    config: &Whereabouts,
    arguments: &RequestArguments,
    request: MotionRequest,
) -> Result<()> {
    let namespace = &config.session.namespace;
    let mut confirmed = Map::new();
    let mut failed = Vec::new();
    for (robot, state) in robots.iter().zip(states) {
        match state {
            Ok(state) => {
                if !arguments.json {
                    print(&format!("{namespace}/{robot}: {}: {state}", done(request)));
                }
                confirmed.insert(robot.clone(), state.clone());
            }
            Err(reason) => failed.push(format!("{namespace}/{robot}: {reason}")),
        }
    }
    if !failed.is_empty() {
        bail!(
            "NOT confirmed, the robot may go on: {}; is `kinestream run` running, and does [session] of {} lead to it? \
             Asked for {} s",
            failed.join("; "),
            arguments.config.display(),
            arguments.limit
        );
    }
    if arguments.json {
        let text = match robots {
            [only] => serde_json::to_string(&confirmed.remove(only))?,
            _ => serde_json::to_string(&confirmed)?,
        };
        print(&text);
    }
    Ok(())
}

/// Prints a line; who does not read it has no say in what is done.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn done(request: MotionRequest) -> &'static str {
    match request {
        MotionRequest::Stop => "stopped",
        MotionRequest::Rearm => "re-armed",
        MotionRequest::Pause => "paused",
        MotionRequest::Resume => "resumed",
        MotionRequest::Home => "going home",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_with_other_mistakes_still_says_where_the_robot_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        let text = "[control.limits]\nvelocty = 3\n[runtime]\nrobot = \"arm\"\n[session]\nlisten = [\"tcp/127.0.0.1:1\"]\n";
        std::fs::write(&file, text).unwrap();
        for named in [file.as_path(), folder.path()] {
            let config = Whereabouts::read(named).unwrap();
            assert_eq!(config.robots(None), ["arm"]);
            assert_eq!(config.session.client().connect, ["tcp/127.0.0.1:1"]);
        }
        let config: Whereabouts = toml::from_str("[runtime]\nrobots = [\"a\", \"b\"]").unwrap();
        assert_eq!(config.robots(None), ["a", "b"]);
        assert_eq!(config.robots(Some(&"b".to_owned())), ["b"]);
    }

    #[test]
    fn one_address_that_confirms_is_enough_and_a_refusal_ends_the_wait() {
        let robots = ["a".to_owned(), "b".to_owned()];
        let (sender, outcomes) = channel();
        let send = |robot, result: Result<Value, String>, is_decided| {
            sender
                .send(Outcome {
                    robot,
                    result,
                    is_decided,
                })
                .unwrap();
        };
        send(0, Err("no session".into()), false);
        send(1, Err("refused: held".into()), true);
        send(0, Ok(Value::Bool(true)), true);
        let states = gather(&outcomes, &robots, Duration::from_secs(3600));
        assert_eq!(states[0], Ok(Value::Bool(true)));
        assert_eq!(states[1], Err("refused: held".to_owned()));
    }
}
