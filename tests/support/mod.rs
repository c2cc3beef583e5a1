//! What integration tests stand on: the real binary on ports of its own, and
//! programs that we did not write.

pub mod certificate;
pub mod chat;
pub mod faults;
pub mod feed;
pub mod gateway;
pub mod http;
pub mod people;
pub mod player;
pub mod postgres;
pub mod process;
pub mod rtmp;
pub mod s3;
pub mod scene;
pub mod server;
pub mod tansu;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The sample clip: 720p25 H.264 and AAC, 5.3 s, one keyframe.
pub fn clip() -> PathBuf {
    root().join("tests/data/bigbuckbunny.mp4")
}

/// Waits for something that another process does; fails rather than hangs.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(45);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "within 45 s there was no {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Resident memory of a process in MiB.
pub fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib / 1024
}

/// Lets this process have so many open files, and the servers that it starts from now on.
pub fn allow_files(many: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < many) {
        let more = Rlimit { current: Some(many), maximum };
        setrlimit(Resource::Nofile, more).expect("as many as `ulimit -Hn` says");
    }
}

/// How many sockets a process has open.
pub fn sockets_of(pid: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process");
    // Some are closed meanwhile.
    let open = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    open.filter(|file| file.to_string_lossy().starts_with("socket:")).count()
}
