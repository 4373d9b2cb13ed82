//! `kinestream top`: how a running runtime fares, on a full screen or as one snapshot.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use kinestream_bridge::{Health, Inbox, Keys, Node, NodeError, Presence, SessionOptions};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};

use kinestream_command_line::TopArguments;
use kinestream_runtime::config::{Config, RuntimeConfig};
use kinestream_runtime::shutdown;
use kinestream_terminal::output::line;
use kinestream_terminal::top::watch::{Link, Watch};
use kinestream_terminal::top::{screen, text};

/// Where the shipped configurations listen.
const USUAL_ADDRESS: &str = "tcp/127.0.0.1:7447";
/// This program's name among the nodes; it does not list itself.
const NAME: &str = "top";
/// Time between two looks at keys and messages, and so between two pictures at most.
const GLANCE: Duration = Duration::from_millis(100);
/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);
/// How long a snapshot waits for the list of nodes, once health was heard.
const NODES: Duration = Duration::from_secs(1);
/// What is said of an address at which nobody is.
const NO_ANSWER: &str = "nobody answers there";
/// Messages that wait at most.
const INBOX: usize = 8;

pub(crate) fn run(arguments: &TopArguments) -> Result<()> {
    let target = Target::find(arguments)?;
    if takes_the_screen(arguments) {
        full_screen(target)
    } else {
        snapshot(target, arguments)
    }
}

/// Whether the whole terminal is drawn on, and nothing else may write to it.
pub(crate) fn takes_the_screen(arguments: &TopArguments) -> bool {
    !arguments.once && !arguments.json && std::io::stdout().is_terminal()
}

/// Whom to watch, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    session: SessionOptions,
    robot: String,
    keys: Keys,
}

impl Target {
    fn find(arguments: &TopArguments) -> Result<Self> {
        let (mut session, robot) = match &arguments.config {
            None => {
                let usual = RuntimeConfig::default().robot;
                let robot = arguments.robot.clone().unwrap_or(usual);
                (SessionOptions::default(), robot)
            }
            Some(path) => from_config(path, arguments)?,
        };
        if let Some(address) = &arguments.connect {
            session.connect = vec![address.clone()];
            session.listen.clear();
        } else if arguments.config.is_none() {
            session.connect = vec![USUAL_ADDRESS.to_owned()];
        }
        // One file describes both sides, and a client hears through whatever it connects to.
        let session = session.client();
        let keys = Keys::new(&session.namespace, &robot)?;
        // Wrong addresses are told before anything else happens.
        session.to_zenoh()?;
        Ok(Self {
            session,
            robot,
            keys,
        })
    }

    fn address(&self) -> String {
        match (self.session.connect.as_slice(), &self.session.config_file) {
            ([], Some(path)) => path.display().to_string(),
            ([], None) => "whoever multicast finds".to_owned(),
            (addresses, _) => addresses.join(", "),
        }
    }

    fn watch(&self) -> Watch {
        Watch::new(self.keys.health(), self.address())
    }

    /// Connects on a thread of its own, as often as it takes: an attempt may take long, and nobody
    /// waits for it at the end.
    fn connect(self) -> Result<Receiver<Attempt>> {
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("connect".into())
            .spawn(move || {
                loop {
                    let attempt = Subscriptions::open(&self.session, &self.robot);
                    let open = attempt.is_ok();
                    // An error here means that nobody waits any more.
                    if sender.send(attempt).is_err() || open {
                        return;
                    }
                    std::thread::sleep(RETRY);
                }
            })
            .context("cannot start the thread that connects")?;
        Ok(receiver)
    }
}

fn from_config(path: &Path, arguments: &TopArguments) -> Result<(SessionOptions, String)> {
    let config = Config::read(path)?;
    if arguments.connect.is_none() {
        config.check_session(path)?;
    }
    let robot = config.runtime.one(arguments.robot.as_deref(), path)?;
    Ok((config.session, robot))
}

type Attempt = Result<Subscriptions>;

/// All that is listened to.
struct Subscriptions {
    node: Node,
    presence: Presence,
    inbox: Inbox<Health>,
}

impl Subscriptions {
    fn open(session: &SessionOptions, robot: &str) -> Attempt {
        let node = Node::open(session, robot, NAME)?;
        Ok(Self {
            presence: node.presence()?,
            inbox: node.health_inbox(INBOX)?,
            node,
        })
    }

    /// Tells the watch all that has come.
    fn report(&self, watch: &mut Watch, first: bool, now: Duration) {
        let mut alive = self.presence.alive();
        alive.retain(|name| name != self.node.name());
        watch.see(&alive, first, now);
        watch.malformed = self.inbox.counts().malformed;
        while let Some(health) = self.inbox.try_next() {
            watch.hear(health, now);
        }
    }
}

/// Why an attempt to connect failed, in few words: zenoh's own tell where in its source.
fn why(error: &anyhow::Error) -> String {
    tracing::debug!("no connection: {error:#}");
    match error.downcast_ref() {
        Some(NodeError::Open { source, .. })
            if source.to_string().contains("Unable to connect to any") =>
        {
            NO_ANSWER.to_owned()
        }
        _ => error.to_string(),
    }
}

fn snapshot(target: Target, arguments: &TopArguments) -> Result<()> {
    let limit = Duration::try_from_secs_f64(arguments.wait)
        .map_err(|_| anyhow!("--wait is {}, expected seconds from 0 on", arguments.wait))?;
    let begun = Instant::now();
    let left = || limit.saturating_sub(begun.elapsed());
    let mut watch = target.watch();
    let robot = target.robot.clone();
    let attempts = target.connect()?;
    let mut refused = None;
    let ears = loop {
        match attempts.recv_timeout(left()) {
            Ok(Ok(ears)) => break Some(ears),
            Ok(Err(error)) => refused = Some(error),
            Err(_) => break None,
        }
    };
    let Some(ears) = ears else {
        let why = refused.map_or_else(|| NO_ANSWER.to_owned(), |error| why(&error));
        bail!(
            "no connection to {} within {} s, to hear {}: {why}; start `kinestream run`, \
             or name its address with --connect",
            watch.address,
            arguments.wait,
            watch.key
        );
    };
    let Some(health) = ears.inbox.next(left()) else {
        ears.report(&mut watch, true, begun.elapsed());
        let alive: Vec<_> = watch
            .nodes()
            .iter()
            .map(|seen| seen.name.as_str())
            .collect();
        bail!(
            "nothing heard on {} at {} within {} s ({} messages refused; alive there: {}); \
             is robot {robot:?} the one that runs there (--robot), and of this version?",
            watch.key,
            watch.address,
            arguments.wait,
            watch.malformed,
            if alive.is_empty() {
                "no node".to_owned()
            } else {
                alive.join(", ")
            },
        );
    };
    if arguments.json {
        line(format_args!("{}", health.to_json()?));
        return Ok(());
    }
    // The list of nodes travels on its own; the sender is certainly among them.
    let _ = ears.presence.wait_for(&health.node, true, NODES);
    watch.hear(health, begun.elapsed());
    ears.report(&mut watch, true, begun.elapsed());
    let text = text::snapshot(&watch, begun.elapsed()).unwrap_or_default();
    line(format_args!("{}", text.trim_end()));
    Ok(())
}

fn full_screen(target: Target) -> Result<()> {
    let stop = shutdown::flag()?;
    let mut watch = target.watch();
    let attempts = target.connect()?;
    // ratatui restores the terminal at a panic; the screen's own end does at any other.
    let mut screen = Screen::open()?;
    let begun = Instant::now();
    let mut ears: Option<Subscriptions> = None;
    while !stop.load(Ordering::SeqCst) {
        let now = begun.elapsed();
        match &ears {
            Some(ears) => ears.report(&mut watch, false, now),
            None => match attempts.try_recv() {
                Ok(Ok(open)) => {
                    watch.link = Link::Open;
                    open.report(&mut watch, true, now);
                    ears = Some(open);
                }
                Ok(Err(error)) => watch.link = Link::Trying(Some(why(&error))),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => bail!("the thread that connects has gone"),
            },
        }
        screen
            .terminal
            .draw(|frame| {
                let area = frame.area();
                screen::render(&watch, begun.elapsed(), area, frame.buffer_mut());
            })
            .context("cannot draw on the terminal")?;
        if event::poll(GLANCE).context("cannot read the keyboard")?
            && let Event::Key(key) = event::read().context("cannot read the keyboard")?
            && ends(key)
        {
            break;
        }
    }
    Ok(())
}

fn ends(key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
        _ => false,
    }
}

/// The terminal while it is drawn on; dropping it gives it back as it was.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn open() -> Result<Self> {
        let terminal = ratatui::try_init()
            .context("cannot draw on this terminal; `kinestream top --once` prints plain text")?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

#[cfg(test)]
mod tests {
    use kinestream_bridge::node::Mode;

    use super::*;

    fn arguments(connect: Option<&str>) -> TopArguments {
        TopArguments {
            config: None,
            connect: connect.map(str::to_owned),
            robot: None,
            once: true,
            json: false,
            wait: 5.0,
        }
    }

    #[test]
    fn without_a_configuration_the_usual_robot_is_watched_where_it_usually_is() {
        let target = Target::find(&arguments(None)).unwrap();
        assert_eq!(target.keys.health(), "kinestream/pusht/health");
        assert_eq!(target.session.connect, [USUAL_ADDRESS]);
        assert_eq!(target.session.mode, Some(Mode::Client));
    }

    #[test]
    fn a_watcher_connects_where_the_runtime_listens_and_never_listens_itself() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/pusht-state.toml");
        let mut arguments = arguments(None);
        arguments.config = Some(path);
        let target = Target::find(&arguments).unwrap();
        assert_eq!(target.session.connect, ["tcp/127.0.0.1:7447"]);
        assert!(target.session.listen.is_empty());
        arguments.connect = Some("tcp/127.0.0.1:7448".into());
        arguments.robot = Some("arm".into());
        let target = Target::find(&arguments).unwrap();
        assert_eq!(target.address(), "tcp/127.0.0.1:7448");
        assert_eq!(target.keys.health(), "kinestream/arm/health");
    }

    #[test]
    fn wrong_addresses_and_names_are_refused_at_once() {
        assert!(Target::find(&arguments(Some("nonsense"))).is_err());
        let mut arguments = arguments(None);
        arguments.robot = Some("a/b".into());
        assert!(Target::find(&arguments).is_err());
    }

    #[test]
    fn q_escape_and_control_c_end_it() {
        let key = |code, modifiers| ends(KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Enter, KeyModifiers::NONE));
    }
}
