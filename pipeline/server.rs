//! Everything in one process: builds it, runs it, ends it in order.
//!
//! ```text
//! log ─► catalog ─► registry ─┐
//! intakes ─► plane ─► engine ─┼─► listeners (HTTP, HTTPS, RTMP, RTMPS)
//! origin, archive ◄─ edges ───┘
//! archive ─► store
//! log ─► lake
//! ```
//!
//! Start goes from the durable to the visible: nobody is let in before what
//! was live is there again. The end goes the other way round: publishers are
//! sent away, streams end, their last parts and ENDLIST reach viewers, the
//! data plane drains, and the log closes last.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lake::Lake;
use log::{DataLock, Embedded, Kafka, Log, Topic};
use operators::transcode::Pool;
use queries::{Flight, Postgres};
use records::{Health, Media, MediaBody, StreamId, StreamState};
use runtime::{Clock, EdgeReceiver, Engine, Intake, edge, wall_us};
use sinks::archive::{Announcement, Archive};
use sinks::hls::vod::Library;
use sinks::hls::{Cold, Origin, RestoredStream};
use sources::rtmp::{self, Lanes, RtmpMeters};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::announcements::Ledger;
use crate::catalog::Catalog;
use crate::config::{Config, Secret};
use crate::dataflow::{Edges, MediaPlane, Quarantine, Quarantined};
use crate::events::EventCounts;
use crate::faults::{LakeFaults, StepFaults};
use crate::feed::Feed;
use crate::health::HealthBoard;
use crate::http::{self, App, Rate, Shared};
use crate::journal;
use crate::keys::{self, KeyError};
use crate::registry::{Registry, TICK};
use crate::settings;
use crate::tail::LogTail;
use crate::thumbnails::Thumbnails;
use crate::tls::Certificate;
use crate::videos::{Around, Recorder, RecorderCounts, Tiers, Videos};

/// How long streams may take to end when the server stops.
const END_PATIENCE: Duration = Duration::from_secs(8);

/// How long viewers have to fetch the last parts and ENDLIST.
const FAREWELL: Duration = Duration::from_millis(700);

/// How long uploads that are under way may take then; what waits goes up
/// after the next start.
const UPLOADS_PATIENCE: Duration = Duration::from_secs(3);

/// Why the server didn't start. All but the last are the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("cannot listen on {address} for {what}: {source}; is another server running there?")]
    Listen {
        /// What was to be served there.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The data directory can't be used.
    #[error("cannot use {path}: {source}")]
    Data {
        /// Which file or folder.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Publishers can't be read.
    #[error("no thread to read publishers with: {0}")]
    Lanes(std::io::Error),
    /// A setting is refused by the part that it is for.
    #[error("the configuration cannot work: {0}")]
    Config(String),
    /// There is no admin token.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log can't be opened or read.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The streams can't be read.
    #[error(transparent)]
    Catalog(#[from] crate::catalog::CatalogError),
    /// The videos can't be read.
    #[error(transparent)]
    Videos(#[from] crate::videos::VideoError),
    /// Certificates can't be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// Encoders can't be used.
    #[error(transparent)]
    Transcode(#[from] operators::transcode::TranscodeError),
    /// The archive can't be used.
    #[error(transparent)]
    Archive(#[from] sinks::archive::ArchiveError),
    /// Questions to the lake can't be answered.
    #[error(transparent)]
    Queries(#[from] queries::Error),
    /// The lake can't be used as configured.
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// The data plane didn't start.
    #[error(transparent)]
    Scale(#[from] runtime::ScaleError),
}

/// A running server.
pub struct Server {
    /// Where HTTP is served, with the port that was chosen for port 0.
    pub http: SocketAddr,
    /// Where HTTPS is served, if it is.
    pub https: Option<SocketAddr>,
    /// Where RTMP is served.
    pub rtmp: SocketAddr,
    /// Where RTMPS is served, if it is.
    pub rtmps: Option<SocketAddr>,
    /// Where PostgreSQL's clients connect, if they may.
    pub postgres: Option<SocketAddr>,
    /// Where clients of Arrow Flight SQL connect, if they may.
    pub flight: Option<SocketAddr>,
    app: App,
    stop_rtmp: watch::Sender<bool>,
    stop_http: watch::Sender<bool>,
    rtmp_tasks: JoinSet<()>,
    http_tasks: JoinSet<()>,
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

        let http_listener = listen("HTTP", config.http.listen).await?;
        let rtmp_listener = listen("RTMP", config.rtmp.listen).await?;
        let (http, rtmp) = (local(&http_listener), local(&rtmp_listener));
        let https = secure("HTTPS", config.http.tls.as_ref(), &[b"h2", b"http/1.1"]).await?;
        let rtmps = secure("RTMPS", config.rtmp.tls.as_ref(), &[]).await?;
        let postgres = match config.sql.postgres {
            Some(address) => Some(listen("PostgreSQL", address).await?),
            None => None,
        };
        let flight = match config.sql.flight {
            Some(address) => Some(listen("Flight SQL", address).await?),
            None => None,
        };

        let engine =
            Engine::start(Arc::clone(&plane) as _, config.pipeline.workers, Clock::start())?;
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
        let app = App::new(Shared {
            log: Arc::clone(&log),
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
            health_feed: Arc::clone(&health_feed),
            views,
            view_rate: Rate::default(),
            sql: queries::Session::open(queries::Options {
                tail: Some(Arc::new(LogTail::new(Arc::clone(&log)))),
                ..settings::queries(config)
            })?,
            encoders,
            transcode_events,
            urls: settings::urls(config, rtmp.port()),
            admin_token,
            faults_enabled: config.faults,
            lake_faults,
            step_faults,
        });

        let mut plane_tasks = JoinSet::new();
        plane_tasks.spawn(show(hls_out, app.clone()));
        plane_tasks.spawn(store(archive_out, Arc::clone(&archive)));
        plane_tasks.spawn(watch_health(health_out, board, health_feed));
        plane_tasks.spawn(watch_quarantine(quarantine_out, Arc::clone(&registry)));
        plane_tasks.spawn(tick(Arc::clone(&registry)));
        plane_tasks.spawn(Arc::clone(&recorder).run(to_record));
        plane_tasks.spawn(Arc::clone(&recorder).tend_spool());
        plane_tasks.spawn(tiers.run());

        let (stop_rtmp, stopping_rtmp) = watch::channel(false);
        let (stop_http, stopping_http) = watch::channel(false);
        let mut rtmp_tasks = JoinSet::new();
        let rtmp_config = Arc::new(settings::rtmp(config));
        let lanes = Lanes::start().map(Arc::new).map_err(StartError::Lanes)?;
        let rtmps_address = rtmps.as_ref().map(|(listener, _)| local(listener));
        let https_address = https.as_ref().map(|(listener, _)| local(listener));
        let plain = Some((rtmp_listener, None));
        let ways_in = [plain, rtmps.map(|(listener, tls)| (listener, Some(tls)))];
        for (listener, tls) in ways_in.into_iter().flatten() {
            let mut stopping = stopping_rtmp.clone();
            let stopped = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            let (gate, config) = (Arc::clone(&registry), Arc::clone(&rtmp_config));
            let (lanes, meters) = (Arc::clone(&lanes), Arc::clone(&meters));
            let serve = rtmp::serve(listener, tls, lanes, gate, config, meters, stopped);
            rtmp_tasks.spawn(serve);
        }
        let mut http_tasks = JoinSet::new();
        let router = http::router(app.clone());
        let plain = Some((http_listener, None));
        let ways_out = [plain, https.map(|(listener, tls)| (listener, Some(tls)))];
        for (listener, tls) in ways_out.into_iter().flatten() {
            let (app, router) = (app.clone(), router.clone());
            http_tasks.spawn(http::serve(listener, tls, app, router, stopping_http.clone()));
        }
        let postgres_address = postgres.as_ref().map(local);
        let flight_address = flight.as_ref().map(local);
        let stopped = || {
            let mut stopping = stopping_http.clone();
            async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            }
        };
        if let Some(listener) = postgres {
            let entrance = settings::entrance(config, &app, http, b"postgresql")?;
            let server = Postgres::new(app.sql.clone(), entrance).await?;
            http_tasks.spawn(server.serve(listener, stopped()));
        }
        if let Some(listener) = flight {
            let entrance = settings::entrance(config, &app, http, b"h2")?;
            let server = Flight::new(app.sql.clone(), entrance);
            http_tasks.spawn(server.serve(listener, stopped()));
        }
        Ok(Self {
            http,
            https: https_address,
            rtmp,
            rtmps: rtmps_address,
            postgres: postgres_address,
            flight: flight_address,
            app,
            stop_rtmp,
            stop_http,
            rtmp_tasks,
            http_tasks,
            plane_tasks,
            archive,
            log,
            _data_lock: data_lock,
        })
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
        self.stop_rtmp.send_replace(true);
        while self.rtmp_tasks.join_next().await.is_some() {}
        tokio::time::sleep(FAREWELL).await;
        self.stop_http.send_replace(true);
        while self.http_tasks.join_next().await.is_some() {}
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

/// The token in the configuration, or one that is made once and kept.
fn admin_token(config: &Config) -> Result<Secret, KeyError> {
    match &config.admin_token {
        Some(given) => Ok(given.clone()),
        None => keys::admin_token(&config.data_dir),
    }
}

/// Appends the archive's announcements to the log's topic `segments`, and says
/// which streams are complete there.
fn announcer(
    log: Arc<dyn Log>,
    ledger: Arc<Ledger>,
    recordable: mpsc::Sender<StreamId>,
) -> impl Fn(&[(StreamId, Vec<u8>)]) -> Result<(), sinks::archive::AnnounceError> {
    let end = Announcement::End.encode();
    move |values| {
        let records = values
            .iter()
            .map(|(stream, value)| {
                let partition = log::Topic::Segments.partition(stream.shard());
                let key = stream.0.as_bytes().to_vec();
                log::NewRecord::new(partition, key, value.clone())
            })
            .collect();
        let offsets = log::wait(log.append_many(log::Topic::Segments, records))
            .map_err(|error| sinks::archive::AnnounceError(Box::new(error)))?;
        for ((stream, value), offset) in values.iter().zip(offsets) {
            ledger.note(*stream, offset);
            if *value == end {
                // Without room the recorder's next sweep finds it.
                let _ = recordable.try_send(*stream);
            }
        }
        Ok(())
    }
}

/// Takes up what was live when the process last ended, and shows what ended
/// and may still be watched.
async fn restore(
    registry: &Registry,
    log: &dyn Log,
    recorder: &Recorder,
    config: &Config,
) -> Result<(), StartError> {
    let Recorder { archive, ledger, videos, .. } = recorder;
    let catalog = registry.catalog();
    let live = catalog.live();
    let mut finished: Vec<_> = catalog
        .list(|entry| {
            let is_closed = entry.deleted || entry.state == StreamState::Inactive;
            entry.state.is_over() && !is_closed
        })
        .into_iter()
        .filter_map(|entry| {
            let ago = wall_us().saturating_sub(entry.ended_at_us?);
            Some((Duration::from_micros(ago), entry.stream_id))
        })
        .filter(|(ago, _)| *ago < config.hls.keep)
        // A video that was closed closes this way to it too.
        .filter(|(_, id)| videos.of_stream(*id).is_none_or(|video| video.is_open()))
        .collect();
    finished.sort_by_key(|(ago, _)| std::cmp::Reverse(*ago));
    let wanted: HashSet<_> = live
        .iter()
        .map(|entry| entry.stream_id)
        .chain(finished.iter().map(|(_, stream)| *stream))
        .collect();
    let mut pasts = crate::announcements::read(log, |stream| wanted.contains(&stream)).await?;

    for entry in live {
        let stream = entry.stream_id;
        // Its announcements may be anywhere.
        ledger.note(stream, 0);
        let restored = past(stream, pasts.remove(&stream), archive, config).await;
        let resume = restored.as_ref().map(|restored| operators::demux::Resume {
            next_msn: restored.resume.next_msn,
            next_run: restored.resume.next_run,
            end: restored.resume.end,
            origin_wall_us: restored.resume.origin_wall_us,
        });
        tracing::info!(%stream, restored = restored.is_some(), "stream waits for its publisher");
        registry.restore(&entry, restored, resume).await?;
    }
    for (ago, stream) in finished {
        if let Some(restored) = past(stream, pasts.remove(&stream), archive, config).await {
            registry.show_finished(stream, restored, ago);
        }
    }
    Ok(())
}

/// A stream's window, from its announcements and the files that are there.
async fn past(
    stream: StreamId,
    announcements: Option<Vec<Announcement>>,
    archive: &Arc<Archive>,
    config: &Config,
) -> Option<RestoredStream> {
    let (reader, window) = (Arc::clone(archive), settings::restored_window(config));
    // Looks at every segment's file.
    let looked = tokio::task::spawn_blocking(move || {
        reader.restore(stream, announcements.unwrap_or_default(), window)
    });
    let restored = looked.await.ok().flatten()?;
    archive.adopt(stream, &restored);
    Some(restored)
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen { what, address, source };
    TcpListener::bind(address).await.map_err(failed)
}

fn local(listener: &TcpListener) -> SocketAddr {
    // A bound socket has an address.
    listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}

type Secured = (TcpListener, sources::rtmp::TlsConfig);

/// A listener with a certificate, if one is configured.
async fn secure(
    what: &'static str,
    tls: Option<&crate::config::Tls>,
    protocols: &[&[u8]],
) -> Result<Option<Secured>, StartError> {
    let Some(tls) = tls else { return Ok(None) };
    let certificate = Certificate::load(&tls.cert, &tls.key, protocols)?;
    Ok(Some((listen(what, tls.listen).await?, certificate.watch())))
}

/// Parts and segments to the viewers' window.
async fn show(from: EdgeReceiver<Media>, app: App) {
    let mut batch = Vec::new();
    loop {
        from.recv(&mut batch).await;
        let ended: Vec<_> = batch
            .iter()
            .filter(|media| matches!(media.body, MediaBody::End))
            .map(|media| media.stream)
            .collect();
        app.origin.apply_all(batch.drain(..));
        for stream in ended {
            app.thumbnails.forget(stream);
            app.health.forget(stream);
            // Waits for the log; parts of other streams may not.
            let registry = Arc::clone(&app.registry);
            tokio::spawn(async move { registry.ended(stream).await });
        }
    }
}

/// Segments to files.
async fn store(from: EdgeReceiver<Media>, archive: Arc<Archive>) {
    let mut batch = Vec::new();
    loop {
        from.recv(&mut batch).await;
        batch.drain(..).for_each(|media| archive.push(media));
    }
}

async fn watch_health(from: EdgeReceiver<Health>, board: Arc<HealthBoard>, feed: Arc<Feed>) {
    let mut batch = Vec::new();
    loop {
        from.recv(&mut batch).await;
        feed.push(journal::health(&batch));
        batch.drain(..).for_each(|health| board.record(health));
    }
}

async fn watch_quarantine(mut out: mpsc::Receiver<Quarantined>, registry: Arc<Registry>) {
    while let Some(quarantined) = out.recv().await {
        registry.quarantined(quarantined).await;
    }
}

async fn tick(registry: Arc<Registry>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        registry.tick();
    }
}
