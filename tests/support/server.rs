//! The real server on free ports and a data directory of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::http::{Answer, get, request};
use super::process::Program;
use super::{eventually, root};

/// The admin token of all servers here.
pub const TOKEN: &str = "token-of-the-tests";

/// A running server; killed and cleaned up when dropped.
pub struct Server {
    program: Program,
    data: TempDir,
    config: Vec<(String, String)>,
    pub http: String,
    pub rtmp: String,
}

/// A stream with its key.
#[derive(Clone, Debug)]
pub struct Stream {
    pub id: String,
    pub key: String,
    /// Where to publish: server and key in one.
    pub ingest: String,
    /// The multivariant playlist.
    pub playback: String,
}

impl Server {
    /// Starts with the default configuration, without a ladder (encoders are
    /// slow; the tests that want them say so).
    pub async fn start() -> Self {
        Self::with(&[("transcode.enabled", "false")]).await
    }

    /// Starts with settings overridden.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let data = TempDir::new().expect("a temporary directory");
        let config: Vec<_> = settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let program = launch(data.path(), &config, "127.0.0.1:0", "127.0.0.1:0");
        let (http, rtmp) = addresses(&program).await;
        Self { program, data, config, http, rtmp }
    }

    /// Changes a setting, as from the next start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.config.retain(|(of, _)| of != key);
        self.config.push((key.into(), value.into()));
    }

    /// Kills it (`KILL`) or stops it politely (`INT`), and starts it again on
    /// the same data and ports. True if it had ended with success.
    pub async fn restart(&mut self, signal: &str) -> bool {
        self.program.signal(signal);
        self.revive().await
    }

    /// Waits for its end, and starts it again on the same data and ports. True
    /// if it had ended with success.
    pub async fn revive(&mut self) -> bool {
        let succeeded = self.program.wait(Duration::from_secs(20)).await;
        let address = |url: &str| url.split("//").nth(1).unwrap_or_default().to_owned();
        let (http, rtmp) = (address(&self.http), address(&self.rtmp));
        let rtmp = rtmp.trim_end_matches("/live");
        self.program = launch(self.data.path(), &self.config, &http, rtmp);
        addresses(&self.program).await;
        succeeded
    }

    /// Ends it by a signal; what it leaves.
    pub async fn stop(mut self, signal: &str) -> TempDir {
        self.program.signal(signal);
        self.program.wait(Duration::from_secs(20)).await;
        self.data
    }

    /// Leaves its data where it is when the test fails, to be looked at.
    pub fn keep_data(&mut self) {
        println!("data: {}", self.data.path().display());
        self.data.disable_cleanup(true);
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.program.output()
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Where it says that it is found by `scheme`: `https://`, `rtmps://`.
    pub fn found_at(&self, scheme: &str) -> String {
        let output = self.output();
        let line = output.lines().map(str::trim).find(|line| line.starts_with(scheme));
        line.expect("an address of this scheme").trim_end_matches('/').to_owned()
    }

    /// From now on no file of it may grow beyond so many bytes: with 0 all writes fail, as on
    /// a full disk. None: there is room again.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("it runs");
        let maximum = getrlimit(Resource::Fsize).maximum;
        let limit = Rlimit { current: bytes.or(maximum), maximum };
        prlimit(Some(pid), Resource::Fsize, limit).expect("it is our child");
    }

    /// `GET` below its address.
    pub async fn get(&self, path: &str) -> Answer {
        get(&format!("{}{path}", self.http)).await
    }

    /// A request with the admin token.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        request(method, &format!("{}{path}", self.http), Some(TOKEN), body).await
    }

    /// Makes a stream.
    pub async fn create(&self, title: &str) -> Stream {
        let body = json!({ "title": title, "category": "tests" });
        let answer = self.admin(Method::POST, "/api/streams", Some(body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        let json = answer.json();
        let field = |name: &str| json[name].as_str().expect(name).to_owned();
        let (id, key) = (field("stream_id"), field("stream_key"));
        Stream {
            ingest: format!("{}/{key}", self.rtmp),
            playback: format!("{}/live/{id}/index.m3u8", self.http),
            id,
            key,
        }
    }

    /// Waits until the stream is in `state`, or past it: what is complete is
    /// recorded at once.
    pub async fn state(&self, stream: &Stream, state: &str) {
        let path = format!("/api/streams/{}", stream.id);
        eventually(&format!("state {state}"), async || {
            let now = self.get(&path).await.json()["state"].clone();
            let past = state == "STREAM_COMPLETE" && (now == "ARCHIVED" || now == "INACTIVE");
            (now == state || past).then_some(())
        })
        .await;
    }

    /// The recording of a stream, once there is one.
    pub async fn video(&self, stream: &Stream) -> Value {
        let path = format!("/api/streams/{}", stream.id);
        let id = eventually("video", async || {
            self.get(&path).await.json()["video"].as_str().map(str::to_owned)
        })
        .await;
        let answer = self.get(&format!("/api/videos/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    /// `GET /api/cluster`.
    pub async fn cluster(&self) -> Value {
        self.get("/api/cluster").await.json()
    }

    /// Changes the worker count.
    pub async fn scale(&self, workers: usize) -> Value {
        let body = json!({ "workers": workers });
        let answer = self.admin(Method::PUT, "/api/cluster/workers", Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }
}

fn launch(data: &Path, config: &[(String, String)], http: &str, rtmp: &str) -> Program {
    let mut command = Command::new(binary());
    command
        .args(["serve", "--http", http, "--rtmp", rtmp, "--data"])
        .arg(data)
        .env("MILLSTREAM_ADMIN_TOKEN", TOKEN)
        // Looking up the names for a panic's backtrace takes a debug build many seconds, in
        // which the generation that broke isn't replaced.
        .env_remove("RUST_BACKTRACE")
        .current_dir(root());
    for (key, value) in config {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    Program::start(&mut command)
}

/// The binary under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_millstream"))
}

async fn addresses(program: &Program) -> (String, String) {
    eventually("address in the server's output", async || {
        let output = program.output();
        let after = |label: &str| {
            let line = output.lines().find_map(|l| l.trim().strip_prefix(label))?;
            Some(line.trim().trim_end_matches('/').to_owned())
        };
        // The ports may be refused for a moment after a kill; a server that
        // ended says why in its output, which the panic of `eventually` hides.
        assert!(!output.contains("millstream: "), "{output}");
        Some((after("pages")?, after("publish")?))
    })
    .await
}
