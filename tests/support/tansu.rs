//! A real Kafka broker for the tests: Tansu, on a free port and a database of its own.
//!
//! Shared by the tests of the log and of the whole server. `make tansu` installs it.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The version that the Makefile installs.
pub const VERSION: &str = "0.6.0";

/// A running broker; killed and cleaned up when dropped.
pub struct Tansu {
    /// Where it listens.
    pub port: u16,
    /// Flags of its next start.
    pub flags: Vec<String>,
    dir: TempDir,
    child: Option<Child>,
}

impl Tansu {
    /// Starts on a free port.
    ///
    /// # Panics
    /// If it isn't installed or doesn't come up.
    pub fn start() -> Self {
        Self::behind(None)
    }

    /// Starts. Clients are told to come to `front`, a port on this machine, if
    /// something stands between them and the broker.
    pub fn behind(front: Option<u16>) -> Self {
        let port = free_port();
        let flags = vec![
            format!("--listener-url=tcp://127.0.0.1:{port}"),
            format!("--advertised-listener-url=tcp://127.0.0.1:{}", front.unwrap_or(port)),
            "--storage-engine=sqlite://tansu.db".into(),
        ];
        let dir = TempDir::new().expect("a temporary directory");
        let mut broker = Self { port, flags, dir, child: None };
        broker.restart();
        broker
    }

    /// The log's URL here.
    pub fn url(&self, prefix: &str) -> String {
        format!("kafka://127.0.0.1:{}/{prefix}", self.port)
    }

    /// Ends it with SIGKILL. What it acknowledged is in its database.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port and database.
    pub fn restart(&mut self) {
        self.kill();
        let log = File::options().create(true).append(true).open(self.log()).expect("a log file");
        let child = Command::new(binary())
            .arg("broker")
            .args(&self.flags)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("tansu starts");
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none() && Instant::now() < until, "tansu: {ended:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("tansu.log")
    }

    /// What it printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Tansu {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The program: where cargo installs, or else in the PATH.
pub fn binary() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = home
        .map(|home| home.join("bin"))
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join("tansu"))
        .find(|program| program.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "the Kafka broker of the tests is not installed: run `make tansu`, or `cargo install \
             tansu --version {VERSION} --features dynostore,libsql --locked`"
        )
    })
}
