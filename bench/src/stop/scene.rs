//! The runtime of a stop's measurement, under one condition, and how it is asked to stop.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kinestream_bridge::node::{Mode, MotionRequest};
use kinestream_bridge::{Node, SessionOptions};
use kinestream_control::thread_freezer::ThreadFreezer;
use rustix::process::{Pid, Signal, kill_process};
use zenoh::Wait as _;

use super::relay;
use super::robot::{OBSERVATION_TIMEOUT, Robot};
use kinestream_command_line::bench::{StopCondition, StopWay};
use kinestream_runtime::config::BUILT_IN;
use kinestream_runtime::page::{Page, PageOptions};
use kinestream_runtime::session_stop::SessionStop;

/// Of the control loop.
pub(super) const PERIOD_MS: f64 = 10.0;
/// How long the slow line takes each way.
pub(super) const LINE_DELAY: Duration = Duration::from_millis(300);
/// How long a runtime may take to be there.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Files that a runtime may open where they are to run out, and connections that use them up.
const DESCRIPTORS: usize = 256;

pub(super) struct Scene {
    condition: StopCondition,
    folder: tempfile::TempDir,
    /// The runtime's configuration, which `kinestream stop` is given too, and that of somebody elsewhere.
    config: PathBuf,
    remote_config: PathBuf,
    child: Child,
    /// Who asks, and where the robot connects.
    asking: SessionOptions,
    robot: SessionOptions,
    asker: Option<Arc<Node>>,
    /// A page beside the robot, on the asker's session, and what ends it.
    page: Option<Page>,
    page_ended: Arc<AtomicBool>,
    port: u16,
    /// The reading end of a log that nobody reads, and what fills it.
    log: Option<(std::io::PipeReader, File)>,
    connections: std::cell::RefCell<Vec<TcpStream>>,
    keeper: std::cell::RefCell<Option<zenoh::query::Queryable<()>>>,
    freezer: std::cell::RefCell<Option<ThreadFreezer>>,
    flood: Arc<AtomicBool>,
    _router: Option<Node>,
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let program = own.parent().unwrap_or(Path::new(".")).join(name);
    ensure!(program.exists(), "{} is missing", program.display());
    Ok(program)
}

impl Scene {
    /// A running runtime; what is wrong with it comes with [`Scene::disturb`].
    pub(super) fn start(condition: StopCondition) -> Result<Self> {
        let folder = tempfile::tempdir().context("no folder for temporary files")?;
        let port = free_port()?;
        let address = |protocol: &str| format!("{protocol}/127.0.0.1:{port}");
        let plain = |connect: String| SessionOptions {
            connect: vec![connect],
            mode: Some(Mode::Client),
            ..SessionOptions::default()
        };
        let mut asking = plain(address("tcp"));
        let mut robot = asking.clone();
        let mut session = format!("listen = [\"{}\"]", address("tcp"));
        // Twice the address: another session than the runtime's own, wherever that listens or connects.
        let remote = |address: &str| format!("connect = [\"{address}\", \"{address}\"]");
        let mut remote_session = remote(&address("tcp"));
        let mut router = None;
        match condition {
            StopCondition::SlowLine => {
                let relayed = relay::start(port, LINE_DELAY)?;
                asking = plain(format!("tcp/127.0.0.1:{relayed}"));
                remote_session = remote(&format!("tcp/127.0.0.1:{relayed}"));
            }
            StopCondition::Router => {
                let options = SessionOptions {
                    mode: Some(Mode::Router),
                    listen: vec![address("tcp")],
                    ..SessionOptions::default()
                };
                router = Some(Node::open(&options, "router", "router")?);
                session = format!("connect = [\"{}\"]", address("tcp"));
            }
            StopCondition::MutualTls => {
                let secure = secure_folder(folder.path())?;
                let file = |name: &str| secure.join(name);
                session = format!(
                    "listen = [\"{}\"]\nconfig_file = \"{}\"",
                    address("tls"),
                    file("policy.json5").display()
                );
                remote_session = format!(
                    "{}\nconfig_file = \"{}\"",
                    remote(&address("tls")),
                    file("policy.json5").display()
                );
                robot = SessionOptions {
                    config_file: Some(file("robot.json5")),
                    ..plain(address("tls"))
                };
                asking = robot.clone();
            }
            _ => {}
        }
        let config = folder.path().join("run.toml");
        std::fs::write(&config, configuration(&session)?)?;
        let remote_config = folder.path().join("remote.toml");
        std::fs::write(&remote_config, configuration(&remote_session)?)?;
        let (child, log) = spawn(condition, folder.path(), &config)?;
        let mut scene = Self {
            condition,
            folder,
            config,
            remote_config,
            child,
            asking,
            robot,
            asker: None,
            page: None,
            page_ended: Arc::default(),
            port,
            log,
            connections: Vec::new().into(),
            keeper: None.into(),
            freezer: None.into(),
            flood: Arc::new(AtomicBool::new(false)),
            _router: router,
        };
        scene.wait_until_there()?;
        Ok(scene)
    }

    pub(super) fn robot_session(&self) -> SessionOptions {
        self.robot.clone()
    }

    /// Waits until the runtime answers.
    fn wait_until_there(&mut self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < START_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                bail!("the runtime ended with {status} before it was there");
            }
            if let Ok(node) = Node::open(&self.robot, "pusht", "bench")
                && matches!(node.ask("model", Duration::from_secs(1)), Ok(Some(_)))
            {
                // The one who asks has an open session from before the trouble.
                let asker = Arc::new(Node::open(&self.asking, "pusht", "asker")?);
                let page_stop = Arc::new(SessionStop::new(Arc::clone(&asker))?);
                let options = PageOptions {
                    host: Ipv4Addr::LOCALHOST.into(),
                    port: 0,
                    token_file: None,
                };
                let page = Page::open_with(&options, &self.page_ended, Some(page_stop))?;
                self.page = Some(page);
                self.asker = Some(asker);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the runtime is not there within {START_LIMIT:?}")
    }

    /// Brings the condition about.
    pub(super) fn disturb(&self) -> Result<()> {
        match self.condition {
            StopCondition::LogBlocked => {
                if let Some((_, filler)) = &self.log {
                    let mut filler = filler;
                    for size in [4096, 64, 1] {
                        while filler.write(&vec![b'x'; size]).is_ok() {}
                    }
                }
            }
            StopCondition::DescriptorsGone => {
                let mut connections = self.connections.borrow_mut();
                for _ in 0..2 * DESCRIPTORS {
                    let address = (Ipv4Addr::LOCALHOST, self.port).into();
                    let limit = Duration::from_millis(100);
                    match TcpStream::connect_timeout(&address, limit) {
                        Ok(connection) => connections.push(connection),
                        Err(_) => break,
                    }
                }
            }
            StopCondition::PolicyStuck => {
                let freezer = ThreadFreezer::freeze(self.child.id(), "policy");
                let freezer = freezer.context("the policy thread cannot be frozen")?;
                *self.freezer.borrow_mut() = Some(freezer);
            }
            StopCondition::Flood => self.flood()?,
            _ => {}
        }
        Ok(())
    }

    /// Asks for a stop; returns when that was, or, of the watchdog, when its time is over.
    pub(super) fn ask(&self, way: StopWay, robot: &Robot) -> Result<Instant> {
        let asker = self
            .asker
            .as_ref()
            .ok_or_else(|| anyhow!("nobody to ask"))?;
        let asked = Instant::now();
        match way {
            StopWay::Sample => asker.send_stop()?,
            StopWay::Query => {
                asker.request_motion(MotionRequest::Stop, Duration::from_secs(5))?;
            }
            StopWay::Command | StopWay::RemoteCommand => {
                let config = match way {
                    StopWay::Command => &self.config,
                    _ => &self.remote_config,
                };
                let done = Command::new(beside("kinestream")?)
                    .arg("stop")
                    .arg(config)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                done.context("cannot start kinestream stop")?;
            }
            StopWay::Ros2 => {
                // std_msgs/Bool, true, as a publisher of rmw_zenoh_cpp spells its key.
                let key = "0/estop/std_msgs::msg::dds_::Bool_/RIHS01_0";
                let message: &[u8] = &[0, 1, 0, 0, 1];
                asker
                    .session()
                    .put(key, message)
                    .express(true)
                    .wait()
                    .map_err(|error| anyhow!(error))?;
            }
            StopWay::Page => {
                let page = self.page.as_ref().ok_or_else(|| anyhow!("no page"))?;
                let mut browser = TcpStream::connect(page.address()).context("the page")?;
                let request = format!(
                    "POST /stop HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
                    page.address()
                );
                browser.write_all(request.as_bytes())?;
                let mut status = [0; 12];
                browser.set_read_timeout(Some(Duration::from_secs(5)))?;
                browser.read_exact(&mut status).context("the page")?;
                ensure!(
                    &status == b"HTTP/1.1 202",
                    "the page answered {}",
                    String::from_utf8_lossy(&status)
                );
            }
            StopWay::Keeper => {
                let key = asker.keys().command("estop")?;
                let reply_key = key.clone();
                let keeper = asker
                    .session()
                    .declare_queryable(key)
                    .callback(move |query| {
                        let _ = query.reply(reply_key.as_str(), "held").wait();
                    })
                    .wait()
                    .map_err(|error| anyhow!(error))?;
                *self.keeper.borrow_mut() = Some(keeper);
            }
            StopWay::Sigint => self.signal(Signal::INT)?,
            StopWay::Sigterm => self.signal(Signal::TERM)?,
            StopWay::Sighup => self.signal(Signal::HUP)?,
            StopWay::Sigquit => self.signal(Signal::QUIT)?,
            StopWay::Watchdog => {
                robot.set_silent(true);
                std::thread::sleep(Duration::from_millis(60));
                return Ok(robot.silence_due());
            }
        }
        Ok(asked)
    }

    /// Takes back what would hold the stop.
    pub(super) fn undo(&self, way: StopWay, robot: &Robot) {
        if way == StopWay::Keeper
            && let Some(keeper) = self.keeper.borrow_mut().take()
        {
            let _ = keeper.undeclare().wait();
        }
        robot.set_silent(false);
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let process = process.ok_or_else(|| anyhow!("no process to signal"))?;
        Ok(kill_process(process, signal)?)
    }

    /// Three senders of observations that are none.
    fn flood(&self) -> Result<()> {
        for _ in 0..3 {
            let node = Node::open(&self.robot, "pusht", "flood")?;
            let key = node.keys().observation("state")?;
            let ended = Arc::clone(&self.flood);
            std::thread::spawn(move || {
                let bytes = vec![0x4b; 300];
                while !ended.load(Ordering::Relaxed) {
                    for _ in 0..50 {
                        if node
                            .session()
                            .put(key.as_str(), bytes.as_slice())
                            .wait()
                            .is_err()
                        {
                            return;
                        }
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        Ok(())
    }

    /// Ends the runtime, however it is.
    pub(super) fn end(mut self) {
        self.flood.store(true, Ordering::Relaxed);
        self.page_ended.store(true, Ordering::SeqCst);
        self.freezer.borrow_mut().take();
        self.connections.borrow_mut().clear();
        self.log = None;
        let _ = self.signal(Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < END_LIMIT && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.flood.store(true, Ordering::Relaxed);
        self.page_ended.store(true, Ordering::SeqCst);
        self.freezer.borrow_mut().take();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = &self.folder;
    }
}

/// The shipped configuration with limits that show a way to rest, and a session of its own.
fn configuration(session: &str) -> Result<String> {
    let mut text = BUILT_IN.to_owned();
    let timeout_ms = OBSERVATION_TIMEOUT.as_millis();
    for (from, to) in [
        ("listen = [\"tcp/127.0.0.1:7447\"]", session.to_owned()),
        (
            "rearm = \"automatic\"",
            format!(
                "rearm = \"request\"\nobservation_timeout_ms = {timeout_ms}\nsafe_stop_after_ms = 500"
            ),
        ),
        (
            "upper = 512.0",
            "upper = 512.0\nvelocity = 600.0\nacceleration = 6000.0\njerk = 200000.0".to_owned(),
        ),
    ] {
        ensure!(
            text.contains(from),
            "the built-in configuration has no {from:?}"
        );
        text = text.replace(from, &to);
    }
    text.push_str("\n[ros2]\nstop = \"/estop\"\n");
    Ok(text)
}

/// Starts the runtime as the condition wants it, with the end of its log that is to be held.
fn spawn(
    condition: StopCondition,
    folder: &Path,
    config: &Path,
) -> Result<(Child, Option<(std::io::PipeReader, File)>)> {
    let program = beside("kinestream")?;
    let limited = |limit: &str, tail: &str| {
        let mut shell = Command::new("sh");
        let line = format!("ulimit {limit}; exec \"$0\" run \"$@\" {tail}");
        shell.arg("-c").arg(line).arg(&program).arg(config);
        shell
    };
    let mut command = match condition {
        StopCondition::DiskFull => {
            let mut shell = limited("-f 128", "2>/dev/full");
            shell.arg("--record").arg(folder.join("full.mcap"));
            shell
        }
        StopCondition::DescriptorsGone => limited(&format!("-n {DESCRIPTORS}"), ""),
        _ => {
            let mut run = Command::new(&program);
            run.arg("run").arg(config);
            run
        }
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut log = None;
    if condition == StopCondition::LogBlocked {
        let (reader, writer) = std::io::pipe().context("no pipe for the log")?;
        // Opened anew: a descriptor that does not wait, while the runtime's own does.
        let filler = OpenOptions::new()
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(format!("/proc/self/fd/{}", writer.as_raw_fd()))
            .context("the log cannot be filled")?;
        command.stderr(writer);
        log = Some((reader, filler));
    }
    let child = command.spawn().context("cannot start the runtime")?;
    Ok((child, log))
}

/// configs/secure with certificates of its own.
fn secure_folder(folder: &Path) -> Result<PathBuf> {
    let secure = folder.join("secure");
    std::fs::create_dir(&secure)?;
    for (name, text) in [
        (
            "policy.json5",
            include_str!("../../../configs/secure/policy.json5"),
        ),
        (
            "robot.json5",
            include_str!("../../../configs/secure/robot.json5"),
        ),
        (
            "make-certificates.sh",
            include_str!("../../../configs/secure/make-certificates.sh"),
        ),
    ] {
        let own = format!("{}", secure.display());
        std::fs::write(secure.join(name), text.replace("configs/secure", &own))?;
    }
    let made = Command::new("sh")
        .arg(secure.join("make-certificates.sh"))
        .arg(secure.join("certificates"))
        .stdout(Stdio::null())
        .status()
        .context("cannot run make-certificates.sh")?;
    ensure!(
        made.success(),
        "certificates cannot be made; is openssl installed?"
    );
    Ok(secure)
}
