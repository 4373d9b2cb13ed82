//! The viewer page beside a running system: its server, and what several commands show on it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kinestream_bridge::{Plan as WirePlan, secrets};
use kinestream_viewer::pusht::{Plan, PushT, Rates};
use kinestream_viewer::{self as viewer, EmergencyStop, Token, Viewer, ViewerHandle, access};

/// Time between two pictures of the viewer.
pub const FRAME: Duration = Duration::from_millis(33);
/// Span over which rates are measured.
const RATE_SPAN: Duration = Duration::from_secs(1);

/// Where the page is, and for whom.
#[derive(Debug, Clone)]
pub struct PageOptions {
    /// Address of this machine that the page is on; any but a loopback one wants a token.
    pub host: IpAddr,
    /// Port; 0 for a free one.
    pub port: u16,
    /// File with the token, 16 to 128 letters, digits, - and _; absent for a new one where one is wanted.
    pub token_file: Option<PathBuf>,
}

/// The viewer's server on a thread of its own.
pub struct Page<P: viewer::Page = PushT> {
    address: SocketAddr,
    /// What follows the path in the address that a browser opens.
    query: String,
    handle: ViewerHandle<P>,
    thread: JoinHandle<Result<()>>,
}

impl<P: viewer::Page> Page<P> {
    /// Takes the port and starts the server; it ends when `shutdown` is set. The page drives nothing that could be stopped.
    pub fn open(options: &PageOptions, shutdown: &Arc<AtomicBool>) -> Result<Self> {
        Self::open_with(options, shutdown, None)
    }

    /// As [`Page::open`], with what the page's stop acts on.
    pub fn open_with(
        options: &PageOptions,
        shutdown: &Arc<AtomicBool>,
        emergency_stop: Option<Arc<dyn EmergencyStop>>,
    ) -> Result<Self> {
        let (host, port) = (options.host, options.port);
        let token = match &options.token_file {
            Some(path) => Some(read_token(path)?),
            None if access::is_local(host) => None,
            None => Some(Token::random().context("cannot make a token for the page")?),
        };
        let query = with_token(token.as_ref(), options.token_file.as_deref());
        let viewer = Viewer::bind(SocketAddr::from((host, port)))?
            .with_token(token)
            .with_emergency_stop(emergency_stop);
        let (address, handle) = (viewer.address(), viewer.handle());
        let shutdown = Arc::clone(shutdown);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the viewer")?;
        let ended = async move {
            while !shutdown.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let thread = std::thread::Builder::new()
            .name("viewer".into())
            .spawn(move || Ok(runtime.block_on(viewer.serve(ended))?))
            .context("cannot start the viewer")?;
        Ok(Self {
            address,
            query,
            handle,
            thread,
        })
    }

    /// The address in use, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to open in a browser.
    pub fn url(&self) -> String {
        match &*self.query {
            "" => format!("http://{}", self.address),
            query => format!("http://{}/{query}", self.address),
        }
    }

    /// Shows frames and hands over what a person did.
    pub fn handle(&self) -> &ViewerHandle<P> {
        &self.handle
    }

    /// Waits for the server's end.
    pub fn close(self) -> Result<()> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the viewer thread panicked"),
        }
    }
}

/// Reads a token from a file; white space around it does not count. It stays out of the log.
pub fn read_token(path: &Path) -> Result<Token> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the token in {}", path.display()))?;
    let token: Token = text
        .trim()
        .parse()
        .with_context(|| format!("{}", path.display()))?;
    secrets::keep(token.secret());
    Ok(token)
}

/// The query of an address that is printed: with the token where it is new, with a word in its place
/// where its owner has it in a file, since what is printed is often kept.
pub fn with_token(token: Option<&Token>, file: Option<&Path>) -> String {
    if let Some(token) = token {
        secrets::keep(token.secret());
    }
    match (token, file) {
        (None, _) => String::new(),
        (Some(token), None) => format!("?token={}", token.secret()),
        (Some(_), Some(path)) => format!("?token=TOKEN (in {})", path.display()),
    }
}

/// Rates of plans and commands over the last span.
pub struct Meter {
    since: Instant,
    plans: u64,
    commands: u64,
    rates: Rates,
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self {
            since: Instant::now(),
            plans: 0,
            commands: 0,
            rates: Rates::default(),
        }
    }

    /// Takes the counts so far.
    pub fn measure(&mut self, plans: u64, commands: u64) {
        let span = self.since.elapsed();
        if span < RATE_SPAN {
            return;
        }
        let rate = |now: u64, before: u64| (now - before) as f64 / span.as_secs_f64();
        self.rates = Rates {
            plans_per_second: rate(plans, self.plans),
            commands_per_second: rate(commands, self.commands),
        };
        *self = Self {
            since: Instant::now(),
            plans,
            commands,
            rates: self.rates,
        };
    }

    /// The rates of the last whole span.
    pub fn rates(&self) -> Rates {
        self.rates
    }
}

/// A plan of Push-T as the page shows it; an empty one before the first.
pub fn plan(plan: Option<&WirePlan>) -> Plan {
    plan.map_or_else(Plan::default, |plan| Plan {
        chunk: plan.chunk,
        actions: plan
            .actions
            .chunks_exact(2)
            .map(|action| [action[0], action[1]])
            .collect(),
        noise: plan.noise.clone(),
        committed: plan.committed as usize,
        current: 0,
    })
}
