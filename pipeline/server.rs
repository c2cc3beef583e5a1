//! Everything in one process: builds it, runs it, ends it in order.
//!
//! ```text
//! log ─► catalog ─► registry ─┐
//! log ─► accounts ────────────┤
//! intakes ─► planes ─► engine ┼─► listeners (HTTP, HTTPS, RTMP, RTMPS)
//! origin, archive ◄─ edges ───┘
//! archive ─► store
//! log ─► lake
//! ```
//!
//! Start goes from the durable to the visible: nobody is let in before what
//! was live is there again. The end goes the other way round: publishers are
//! sent away, streams end, their last parts and ENDLIST reach viewers, the
//! data plane drains, and the log closes last.

mod error;
mod front;
mod listen;
mod restore;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use lake::Lake;
use log::{DataLock, Embedded, Kafka, Log, Topic};
use moderate::ServerLimit;
use operators::transcode::Pool;
use runtime::{Clock, Engine, Intake, edge};
use sinks::archive::Archive;
use sinks::hls::vod::Library;
use sinks::hls::{Cold, Origin};
use sources::rtmp::RtmpMeters;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::front::Front;
use self::listen::Sockets;
use self::restore::restore;
use self::tasks::{announcer, show, store, tend, tick, watch_health, watch_quarantine};
use crate::announcements::Ledger;
use crate::catalog::Catalog;
use crate::chat::{self, Chat, ChatPlane, Desk, DeskConfig, Judging, People};
use crate::config::{Config, Secret};
use crate::dataflow::{Edges, MediaPlane, Planes, Quarantine};
use crate::events::EventCounts;
use crate::faults::{LakeFaults, StepFaults};
use crate::feed::Feed;
use crate::health::HealthBoard;
use crate::http::{App, Rate, Shared};
use crate::keys::{self, KeyError};
use crate::registry::Registry;
use crate::settings;
use crate::tail::LogTail;
use crate::thumbnails::Thumbnails;
use crate::videos::{Around, Recorder, RecorderCounts, Tiers, Videos};

pub use self::error::StartError;
pub(crate) use self::front::{Doors, with_secured};
pub use self::listen::Addresses;
pub(crate) use self::listen::{listen, local, secure};

/// How long streams may take to end when the server stops.
const END_PATIENCE: Duration = Duration::from_secs(8);

/// How long viewers have to fetch the last parts and ENDLIST.
const FAREWELL: Duration = Duration::from_millis(700);

/// How long uploads that are under way may take then; what waits goes up
/// after the next start.
const UPLOADS_PATIENCE: Duration = Duration::from_secs(3);

/// A running server.
pub struct Server {
    /// Where it is reached.
    pub at: Addresses,
    app: App,
    front: Front,
    // The archive's queue closes when its edge's task ends.
    plane_tasks: JoinSet<()>,
    archive: Arc<Archive>,
    log: Arc<dyn Log>,
    // Of a log that isn't in the data directory, which is locked all the same.
    _data_lock: Option<DataLock>,
}

impl Server {
    /// Starts everything; when this returns, publishers and viewers can come.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let data = config.data_dir.as_path();
        std::fs::create_dir_all(data)
            .map_err(|source| StartError::Data { path: data.into(), source })?;
        let (log, data_lock) = open_log(config).await?;
        let catalog = Arc::new(Catalog::load(Arc::clone(&log)).await?);
        let accounts = open_accounts(config, &log).await?;
        let admin_token = admin_token(config)?;

        let videos = Videos::load(Arc::clone(&log)).await?;
        let ledger = Arc::new(Ledger::default());
        let (recordable, to_record) = mpsc::channel(1024);
        let archive = Arc::new(Archive::start(settings::archive(config)?, {
            let (log, ledger) = (Arc::clone(&log), Arc::clone(&ledger));
            move || announcer(Arc::clone(&log), Arc::clone(&ledger), recordable.clone())
        })?);
        let stored: Arc<dyn Cold> = Arc::new(archive.reader());
        let library = Library::new(Arc::clone(&stored));
        let origin = Origin::new(settings::hls(config)?, stored);

        let (hls, hls_out) = edge("hls", settings::edge_bytes(config));
        let (to_archive, archive_out) = edge("archive", settings::edge_bytes(config));
        let (heard, heard_out) = edge("chat", settings::edge_bytes(config));
        let (health, health_out) = edge("health", settings::HEALTH_EDGE_BYTES);
        let packets = Intake::new("packets", settings::packets(config));
        let encoded = Intake::new("encoded", settings::encoded(config));
        let transcode_events = Arc::new(EventCounts::default());
        let counts = Arc::clone(&transcode_events);
        let report = Arc::new(move |event| counts.record(&event));
        let encoders = Pool::new(settings::transcode(config), encoded.clone(), report)?;
        let (quarantined, quarantine_out) = mpsc::channel(1024);
        let plane = Arc::new(MediaPlane::new(
            settings::plane(config),
            packets,
            encoded,
            encoders.clone(),
            Edges { hls, archive: to_archive, health },
            Quarantine::new(quarantined),
        ));
        let said = Intake::new("said", settings::SAID);
        let (rules, emotes) = chat::rules(&config.chat)?;
        let rules = Arc::new(rules);
        let limit = Arc::new(ServerLimit::new(config.chat.server_per_minute));
        let judging = Judging { rules: Arc::clone(&rules), limit };
        let lag_epochs_max = settings::plane(config).lag_epochs_max;
        let chat_plane = Arc::new(ChatPlane::new(said, heard, judging, lag_epochs_max));
        let registry = Arc::new(Registry::new(
            Arc::clone(&catalog),
            Arc::clone(&plane),
            origin.clone(),
            config.stream.reconnect_window,
            config.hls.keep,
        ));
        let thumbnails = Arc::new(Thumbnails::default());
        let step_faults = Arc::new(StepFaults::default());
        let around = Around {
            catalog: Arc::clone(&catalog),
            videos: videos.clone(),
            log: Arc::clone(&log),
            archive: Arc::clone(&archive),
            library: library.clone(),
            thumbnails: Arc::clone(&thumbnails),
            faults: Arc::clone(&step_faults),
        };
        let tiers = Tiers::new(settings::tiers(config)?, around);
        let tiers = Arc::new(tiers.map_err(|error| StartError::Config(error.to_string()))?);
        let recorder = Arc::new(Recorder {
            config: settings::recorder(config),
            catalog: Arc::clone(&catalog),
            videos: videos.clone(),
            log: Arc::clone(&log),
            ledger: Arc::clone(&ledger),
            archive: Arc::clone(&archive),
            library: library.clone(),
            origin: origin.clone(),
            thumbnails: Arc::clone(&thumbnails),
            tiers: Arc::clone(&tiers),
            counts: RecorderCounts::default(),
        });
        restore(&registry, &*log, &recorder, config).await?;
        if let Some(spool) = archive.spool() {
            spool.start();
        }

        let sockets = Sockets::open(config).await?;
        let at = sockets.addresses();

        let planes = Planes { media: Arc::clone(&plane), chat: Arc::clone(&chat_plane) };
        let engine = Engine::start(Arc::new(planes), config.pipeline.workers, Clock::start())?;
        let engine = Arc::new(engine);
        let board = Arc::new(HealthBoard::default());
        let meters = Arc::new(RtmpMeters::default());
        let health_feed = Arc::new(Feed::start(Arc::clone(&log), Topic::Health));
        let views = Arc::new(Feed::start(Arc::clone(&log), Topic::Views));
        let lake_faults = Arc::new(LakeFaults::default());
        let lake = match settings::lake(config)? {
            Some(mut lake) => {
                if config.faults {
                    lake.faults = lake_faults.hook();
                }
                Some(Arc::new(Lake::start(&lake, &log)?))
            }
            None => None,
        };
        let desk = Arc::new(Desk::new(
            DeskConfig { ring_bytes: config.chat.ring_bytes },
            Arc::clone(&log),
            Arc::clone(&catalog),
            chat_plane,
            rules,
        ));
        let people = People::new(accounts.clone(), Arc::clone(&catalog));
        let chat = Chat::start(&config.chat, Arc::clone(&desk), people, emotes)?;
        let app = App::new(Shared {
            log: Arc::clone(&log),
            accounts: accounts.clone(),
            registry: Arc::clone(&registry),
            origin: origin.clone(),
            engine: Arc::clone(&engine),
            plane: Arc::clone(&plane),
            health: Arc::clone(&board),
            thumbnails,
            rtmp: Arc::clone(&meters),
            archive: Arc::clone(&archive),
            videos,
            library,
            recorder: Arc::clone(&recorder),
            tiers: Arc::clone(&tiers),
            lake,
            chat,
            health_feed: Arc::clone(&health_feed),
            views,
            view_rate: Rate::default(),
            sql: queries::Session::open(queries::Options {
                tail: Some(Arc::new(LogTail::new(Arc::clone(&log)))),
                ..settings::queries(config)?
            })?,
            encoders,
            transcode_events,
            urls: settings::urls(config, at.rtmp.port()),
            admin_token,
            is_sign_up_open: config.accounts.sign_up,
            streams_max: config.accounts.streams_max,
            faults_enabled: config.faults,
            lake_faults,
            step_faults,
        });

        let mut plane_tasks = JoinSet::new();
        plane_tasks.spawn(show(hls_out, app.clone()));
        plane_tasks.spawn(store(archive_out, Arc::clone(&archive)));
        plane_tasks.spawn(Arc::clone(&desk).run(heard_out));
        plane_tasks.spawn(Chat::tend(desk));
        plane_tasks.spawn(watch_health(health_out, board, health_feed));
        plane_tasks.spawn(watch_quarantine(quarantine_out, Arc::clone(&registry)));
        plane_tasks.spawn(tick(Arc::clone(&registry)));
        plane_tasks.spawn(Arc::clone(&recorder).run(to_record));
        plane_tasks.spawn(Arc::clone(&recorder).tend_spool());
        plane_tasks.spawn(tiers.run());
        plane_tasks.spawn(tend(accounts));

        let front = Front::open(config, &app, &meters, sockets).await?;
        Ok(Self { at, app, front, plane_tasks, archive, log, _data_lock: data_lock })
    }

    /// What the handlers share, for whoever runs in the same process.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Ends broadcasts, lets viewers fetch their end, and closes everything in order.
    pub async fn stop(mut self) {
        tracing::info!("stopping: broadcasts end");
        self.app.registry.end_all(END_PATIENCE).await;
        self.front.close_publishers().await;
        tokio::time::sleep(FAREWELL).await;
        self.app.chat.close();
        self.front.close_viewers().await;
        let engine = Arc::clone(&self.app.engine);
        // Blocks until what is in flight is through.
        let _ = tokio::task::spawn_blocking(move || engine.stop()).await;
        self.plane_tasks.shutdown().await;
        let archive = self.archive;
        let _ = tokio::task::spawn_blocking(move || archive.close()).await;
        // What just ended is a video before we go.
        self.app.recorder.sweep(true).await;
        if let Some(spool) = self.app.archive.spool() {
            spool.close(UPLOADS_PATIENCE).await;
        }
        self.app.health_feed.close().await;
        self.app.views.close().await;
        if let Some(lake) = &self.app.lake {
            lake.stop().await;
        }
        drop(self.log);
        tracing::info!("stopped");
    }
}

async fn open_log(config: &Config) -> Result<(Arc<dyn Log>, Option<DataLock>), log::Error> {
    let (data, at) = (config.data_dir.clone(), config.data_log.clone());
    // Replaying the journal blocks, and so does asking brokers.
    let opened = tokio::task::spawn_blocking(move || {
        let Some(url) = &at.kafka else {
            return Ok((Arc::new(Embedded::open(&data)?) as Arc<dyn Log>, None));
        };
        let lock = DataLock::acquire(&data)?;
        Ok((Arc::new(Kafka::open(url, &at.options)?) as Arc<dyn Log>, Some(lock)))
    });
    opened.await.unwrap_or(Err(log::Error::Closed))
}

/// The accounts of the log, by the keys in the data directory.
async fn open_accounts(config: &Config, log: &Arc<dyn Log>) -> Result<Accounts, StartError> {
    let (given, fetcher) = (settings::accounts(config)?, settings::key_fetcher(config)?);
    let (log, clock) = (Arc::clone(log), accounts::Clock::system());
    Ok(Accounts::open(log, &config.data_dir, given, clock, fetcher).await?)
}

/// The token in the configuration, or one that is made once and kept.
fn admin_token(config: &Config) -> Result<Secret, KeyError> {
    match &config.admin_token {
        Some(given) => Ok(given.clone()),
        None => keys::admin_token(&config.data_dir),
    }
}
