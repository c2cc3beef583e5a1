//! `/metrics` and `/readyz`.

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chat::Totals;
use chat_load::Cost;
use http::{StatusCode, header};

use super::{App, Problem, cluster};
use crate::metrics::Exposition;

/// Everything that is counted, for Prometheus.
pub async fn show(State(app): State<App>) -> Response {
    let mut text = Exposition::default();
    data_plane(&app, &mut text);
    publishers(&app, &mut text);
    viewers(&app, &mut text);
    encoders(&app, &mut text);
    archive(&app, &mut text);
    videos(&app, &mut text);
    accounts(&app, &mut text);
    chat(&app, &mut text);
    lake(&app, &mut text);
    process(&mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text.finish()).into_response()
}

/// Whether viewers and publishers can be served, and if not, why. A store that is
/// away and a lake that can't be written are told beside it: nobody who is live
/// depends on them.
pub async fn ready(State(app): State<App>) -> Result<String, Problem> {
    if app.engine.status().workers == 0 {
        let why = "the data plane is stopped; start it with `millstream scale 1`";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why));
    }
    if let Err(why) = app.log.health().and_then(|()| app.chat.desk.health()) {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string()));
    }
    let mut ready = "ready".to_owned();
    if let Some(spool) = app.archive.spool()
        && let Some(why) = spool.trouble()
    {
        let (objects, bytes) = spool.waiting();
        let store = spool.store();
        ready += &format!(
            "; the archive's store {store} is away, {objects} files ({bytes} bytes) wait on disk: {why}"
        );
    }
    let troubles = app.lake.as_ref().map(|lake| lake.metrics().troubles()).unwrap_or_default();
    for (_, why) in troubles {
        ready += &format!("; {why}");
    }
    Ok(ready + "\n")
}

/// What all of it costs.
pub fn process(text: &mut Exposition) {
    let Some(cost) = Cost::of(std::process::id()) else { return };
    text.family("process_cpu_seconds_total", "counter", "CPU time of all threads, in seconds.")
        .sample(&[], cost.cpu.as_secs_f64());
    text.family(
        "millstream_memory_bytes",
        "gauge",
        "Memory of the process's own: neither the kernel's nor what it has of files.",
    )
    .sample(&[], cost.memory_bytes);
}

fn videos(app: &App, text: &mut Exposition) {
    let all = app.videos.list(|entry| !entry.deleted);
    let clips = all.iter().filter(|entry| entry.clip.is_some()).count();
    text.family("millstream_videos", "gauge", "Videos by kind.")
        .sample(&[("kind", &"recording")], all.len() - clips)
        .sample(&[("kind", &"clip")], clips);
    let bytes: u64 = all.iter().filter(|v| v.clip.is_none()).map(|entry| entry.bytes).sum();
    text.family(
        "millstream_video_bytes",
        "gauge",
        "Segments of recordings, on disk or in the store.",
    )
    .sample(&[], bytes);
    let outcomes = &app.recorder.counts;
    text.family("millstream_recordings_total", "counter", "Broadcasts that became videos.")
        .sample(&[], outcomes.recorded_total.load(Relaxed));
    text.family(
        "millstream_recording_errors_total",
        "counter",
        "Attempts to record a finished broadcast that failed; each is repeated.",
    )
    .sample(&[], outcomes.errors_total.load(Relaxed));
}

fn accounts(app: &App, text: &mut Exposition) {
    text.family("millstream_accounts", "gauge", "Accounts, those locked out included.")
        .sample(&[], app.accounts.count());
    text.family(
        "millstream_password_hashings_total",
        "counter",
        "Passwords hashed: each costs tens of milliseconds of a core.",
    )
    .sample(&[], app.accounts.hashings_total());
}

fn chat(app: &App, text: &mut Exposition) {
    text.family("millstream_chat_rooms", "gauge", "Rooms that somebody is in or wrote to.")
        .sample(&[], app.chat.desk.rooms().len());
    text.family("millstream_chat_asking", "gauge", "What was said and isn't answered yet.")
        .sample(&[], app.chat.desk.asking());
    sockets(text, app.chat.sockets.places.taken(), &app.chat.flushers.totals());
}

/// Of a server's viewers on sockets, or a gateway's.
pub fn sockets(text: &mut Exposition, taken: u64, totals: &Totals) {
    text.family("millstream_chat_sockets", "gauge", "Viewers on sockets, and those on their way.")
        .sample(&[], taken);
    text.family("millstream_chat_writes_total", "counter", "Writes to sockets of what rooms say.")
        .sample(&[], totals.writes);
    text.family("millstream_chat_bytes_total", "counter", "Bytes of these.")
        .sample(&[], totals.bytes);
    text.family(
        "millstream_chat_behind_total",
        "counter",
        "Viewers cut off: they read too slowly.",
    )
    .sample(&[], totals.behind);
    text.family(
        "millstream_chat_lag_seconds",
        "gauge",
        "By how much writes come late, in the worst thread.",
    )
    .sample(&[], totals.lag.as_secs_f64());
}

fn data_plane(app: &App, text: &mut Exposition) {
    let status = app.engine.status();
    text.family("millstream_generation", "gauge", "The running generation of the data plane.")
        .sample(&[], status.generation);
    text.family("millstream_workers", "gauge", "Workers of the running generation; 0: stopped.")
        .sample(&[], status.workers);
    text.family("millstream_unplanned_ends_total", "counter", "Generations ended by a panic.")
        .sample(&[], status.unplanned_ends);

    let epoch = app.engine.clock().tick();
    let operators = app.engine.meters().snapshot(epoch);
    let mut each = |name: &str,
                    kind: &str,
                    help: &str,
                    value: &dyn Fn(&runtime::OperatorReport) -> Option<f64>| {
        let mut family = text.family(name, kind, help);
        for report in &operators {
            if let Some(value) = value(report) {
                family.sample(&[("operator", &report.operator), ("worker", &report.worker)], value);
            }
        }
    };
    each(
        "millstream_operator_records_in_total",
        "counter",
        "Records an operator took in; replays count again.",
        &|o| Some(o.records_in as f64),
    );
    each(
        "millstream_operator_records_out_total",
        "counter",
        "Records an operator passed on; replays count again.",
        &|o| Some(o.records_out as f64),
    );
    each(
        "millstream_operator_busy_seconds_total",
        "counter",
        "Time spent inside an operator.",
        &|o| Some(o.busy_us as f64 / 1e6),
    );
    each(
        "millstream_operator_frontier_lag_epochs",
        "gauge",
        "Epochs of 100 ms by which its input is behind the clock.",
        &|o| o.frontier_lag_epochs.map(|lag| lag as f64),
    );
    each(
        "millstream_operator_oldest_capability_lag_epochs",
        "gauge",
        "Epochs by which the oldest capability it holds is behind.",
        &|o| o.oldest_capability.map(|oldest| epoch.saturating_sub(oldest) as f64),
    );

    let queues = cluster::queues(app);
    let mut bytes = text.family(
        "millstream_queue_bytes",
        "gauge",
        "Bytes waiting in a queue of the data plane.",
    );
    for queue in &queues {
        bytes.sample(&[("queue", &queue.name)], queue.bytes);
    }
    let mut records =
        text.family("millstream_queue_records_total", "counter", "Records ever put into it.");
    for queue in &queues {
        records.sample(&[("queue", &queue.name)], queue.records_total);
    }
}

fn publishers(app: &App, text: &mut Exposition) {
    let rtmp = &app.rtmp;
    text.family("millstream_publishers", "gauge", "Publishers connected.")
        .sample(&[], app.registry.publishers());
    text.family("millstream_rtmp_connections", "gauge", "RTMP connections open.")
        .sample(&[], rtmp.connections_open.load(Relaxed));
    text.family("millstream_rtmp_connections_total", "counter", "RTMP connections ever accepted.")
        .sample(&[], rtmp.connections_total.load(Relaxed));
    text.family(
        "millstream_rtmp_received_bytes_total",
        "counter",
        "Bytes received from publishers.",
    )
    .sample(&[], rtmp.received_bytes_total.load(Relaxed));
    text.family("millstream_rtmp_packets_total", "counter", "Packets handed to the data plane.")
        .sample(&[], rtmp.packets_total.load(Relaxed));
    let mut refused =
        text.family("millstream_rtmp_refused_total", "counter", "Publishers refused.");
    for (reason, count) in rtmp.refused_total.read() {
        refused.sample(&[("reason", &reason)], count);
    }
    let mut closed =
        text.family("millstream_rtmp_closed_total", "counter", "Connections by what ended them.");
    for (reason, count) in rtmp.closed_total.read() {
        closed.sample(&[("reason", &reason)], count);
    }
    let latest = app.health.latest();
    let mut each = |name: &str, help: &str, value: &dyn Fn(&records::Health) -> f64| {
        let mut family = text.family(name, "gauge", help);
        for health in &latest {
            family.sample(&[("stream", &health.stream)], value(health));
        }
    };
    each("millstream_stream_bitrate_kbps", "Payload received in the last second.", &|h| {
        f64::from(h.bitrate_kbps)
    });
    each("millstream_stream_fps", "Pictures received in the last second.", &|h| f64::from(h.fps));
    each(
        "millstream_stream_dropped",
        "Messages that could not be used in the last second.",
        &|h| f64::from(h.dropped),
    );
}

fn viewers(app: &App, text: &mut Exposition) {
    let hls = app.origin.metrics();
    let mut delay = text.family(
        "millstream_part_delay_seconds",
        "histogram",
        "From when a part's last frame was due until it could be fetched.",
    );
    let buckets = hls.part_latency.cumulative();
    let total = buckets.last().map_or(0, |(_, count)| *count);
    for (bound, count) in buckets {
        let le = bound.map_or("+Inf".to_owned(), |us| (us as f64 / 1e6).to_string());
        delay.suffixed("_bucket", &[("le", &le)], count);
    }
    delay.suffixed("_sum", &[], hls.part_latency.sum_us() as f64 / 1e6);
    delay.suffixed("_count", &[], total);

    text.family("millstream_hls_renders_total", "counter", "Playlists rendered.")
        .sample(&[], hls.renders_total.load(Relaxed));
    text.family("millstream_hls_waiting", "gauge", "Requests waiting for media.")
        .sample(&[], hls.waiting.load(Relaxed));
    text.family("millstream_hls_timeouts_total", "counter", "Requests that waited in vain.")
        .sample(&[], hls.timeouts_total.load(Relaxed));
    text.family("millstream_hls_memory_bytes", "gauge", "Media held in memory for viewers.")
        .sample(&[], hls.hot_bytes.load(Relaxed));
    text.family("millstream_hls_cold_reads_total", "counter", "Segments read from storage.")
        .sample(&[], hls.cold_reads_total.load(Relaxed));
    text.family("millstream_hls_cold_errors_total", "counter", "Such reads that failed.")
        .sample(&[], hls.cold_errors_total.load(Relaxed));
    text.family(
        "millstream_hls_repeats_total",
        "counter",
        "Records that were there already (replays).",
    )
    .sample(&[], hls.repeats_total.load(Relaxed));
    text.family(
        "millstream_hls_filled_gaps_total",
        "counter",
        "Segments listed as gaps because nothing came for them.",
    )
    .sample(&[], hls.filled_gaps_total.load(Relaxed));
}

fn encoders(app: &App, text: &mut Exposition) {
    let mut events =
        text.family("millstream_transcode_events_total", "counter", "What happened to ladders.");
    for (kind, count) in app.transcode_events.read() {
        events.sample(&[("kind", &kind)], count);
    }
    let streams = app.encoders.snapshot();
    let mut lag = text.family(
        "millstream_rung_lag_seconds",
        "gauge",
        "How far a rung is behind its publisher.",
    );
    for stream in &streams {
        for rung in &stream.rungs {
            let labels: [(&str, &dyn std::fmt::Display); 2] =
                [("stream", &stream.stream), ("rendition", &rung.rendition)];
            lag.sample(&labels, rung.lag_ms as f64 / 1000.0);
        }
    }
    let mut shed =
        text.family("millstream_rung_shed", "gauge", "1: the rung is shed, because of overload.");
    for stream in &streams {
        for rung in &stream.rungs {
            let labels: [(&str, &dyn std::fmt::Display); 2] =
                [("stream", &stream.stream), ("rendition", &rung.rendition)];
            shed.sample(&labels, u8::from(rung.shed));
        }
    }
}

fn archive(app: &App, text: &mut Exposition) {
    let archive = app.archive.metrics();
    let mut each = |name: &str, kind: &str, help: &str, value: &std::sync::atomic::AtomicU64| {
        text.family(name, kind, help).sample(&[], value.load(Relaxed));
    };
    each(
        "millstream_archive_segments_total",
        "counter",
        "Segments written to disk.",
        &archive.segments_total,
    );
    each(
        "millstream_archive_bytes_total",
        "counter",
        "Bytes written to disk.",
        &archive.bytes_total,
    );
    each(
        "millstream_archive_repeats_total",
        "counter",
        "Segments that were there already (replays).",
        &archive.repeats_total,
    );
    each(
        "millstream_archive_overflow_lost_total",
        "counter",
        "Segments lost since storage is too slow.",
        &archive.overflow_lost_total,
    );
    each(
        "millstream_archive_write_lost_total",
        "counter",
        "Segments lost since writing failed.",
        &archive.write_lost_total,
    );
    each(
        "millstream_archive_announce_errors_total",
        "counter",
        "Failed attempts to announce segments.",
        &archive.announce_errors_total,
    );
    each(
        "millstream_archive_queue_bytes",
        "gauge",
        "Bytes waiting to be written.",
        &archive.queue_bytes,
    );
    if let Some(spool) = app.archive.spool() {
        store(spool, text);
    }
    tiers(app, text);
}

fn tiers(app: &App, text: &mut Exposition) {
    let of = app.tiers.counts();
    for (name, help, value) in [
        ("dropped_renditions", "Renditions of old recordings deleted.", &of.dropped_total),
        ("dropped_bytes", "Bytes of those.", &of.dropped_bytes_total),
        ("cold_moved", "Broadcasts moved to the cold store.", &of.moved_total),
        ("cold_moved_bytes", "Bytes copied there.", &of.moved_bytes_total),
        ("cold_restored", "Broadcasts fetched from the cold store.", &of.restored_total),
        ("cold_restored_bytes", "Bytes copied from there.", &of.restored_bytes_total),
        (
            "tier_errors",
            "Failed attempts to move, fetch or thin a recording; the log says which.",
            &of.errors_total,
        ),
    ] {
        text.family(&format!("millstream_archive_{name}_total"), "counter", help)
            .sample(&[], value.load(Relaxed));
    }
}

fn store(spool: &sinks::archive::Spool, text: &mut Exposition) {
    let is_up = u8::from(spool.trouble().is_none());
    let (objects, bytes) = spool.waiting();
    let mut gauge = |name: &str, help: &str, value: u64| {
        text.family(name, "gauge", help).sample(&[], value);
    };
    gauge(
        "millstream_archive_store_up",
        "0: the store takes nothing now; /readyz says why.",
        is_up.into(),
    );
    gauge("millstream_archive_spool_files", "Files that wait for the store.", objects);
    gauge("millstream_archive_spool_bytes", "Bytes of segments that wait for it.", bytes);
    let of = spool.metrics();
    for (name, help, value) in [
        ("uploads", "Files put into the store.", &of.uploads_total),
        ("upload_bytes", "Bytes put into the store.", &of.upload_bytes_total),
        ("upload_repeats", "Files that were in the store already.", &of.repeats_total),
        (
            "upload_conflicts",
            "Files of which the store has another version, which stays.",
            &of.conflicts_total,
        ),
        ("upload_errors", "Failed attempts to put a file; each is repeated.", &of.errors_total),
        ("spool_lost", "Segments given up because too much waited.", &of.lost_total),
        ("spool_gone", "Files that were gone before they went up.", &of.gone_total),
        ("store_reads", "Objects read from the store for viewers.", &of.reads_total),
        ("store_read_errors", "Such reads that failed.", &of.read_errors_total),
        ("evicted", "Broadcasts that left the disk for the store.", &of.evicted_total),
    ] {
        text.family(&format!("millstream_archive_{name}_total"), "counter", help)
            .sample(&[], value.load(Relaxed));
    }
}

fn lake(app: &App, text: &mut Exposition) {
    text.family(
        "millstream_health_lost_total",
        "counter",
        "Seconds of publishers' health that found no room on their way to the log.",
    )
    .sample(&[], app.health_feed.lost_total());
    text.family(
        "millstream_views_lost_total",
        "counter",
        "Viewers' reports that found no room on their way to the log.",
    )
    .sample(&[], app.views.lost_total());
    let Some(lake) = &app.lake else { return };
    let mut each =
        |name: &str, kind: &str, help: &str, value: &dyn Fn(&lake::TableMetrics) -> f64| {
            let mut family = text.family(name, kind, help);
            for table in lake::Table::ALL {
                family.sample(&[("table", &table)], value(lake.metrics().of(table)));
            }
        };
    each("millstream_lake_rows_total", "counter", "Rows committed to the lake.", &|of| {
        of.rows_total.load(Relaxed) as f64
    });
    each("millstream_lake_commits_total", "counter", "Commits to the lake.", &|of| {
        of.commits_total.load(Relaxed) as f64
    });
    each("millstream_lake_bytes_total", "counter", "Bytes of the files committed.", &|of| {
        of.bytes_total.load(Relaxed) as f64
    });
    each(
        "millstream_lake_conflicts_total",
        "counter",
        "Commits begun anew because another program committed first.",
        &|of| of.conflicts_total.load(Relaxed) as f64,
    );
    each(
        "millstream_lake_skipped_total",
        "counter",
        "Records that no row could be made of.",
        &|of| of.skipped_total.load(Relaxed) as f64,
    );
    each("millstream_lake_errors_total", "counter", "Attempts to write that failed.", &|of| {
        of.errors_total.load(Relaxed) as f64
    });
    each("millstream_lake_lag_records", "gauge", "Records not committed yet.", &|of| {
        of.lag_records.load(Relaxed) as f64
    });
    each(
        "millstream_lake_lag_seconds",
        "gauge",
        "How long the oldest of them has been waiting.",
        &|of| of.lag().as_secs_f64(),
    );
    each(
        "millstream_lake_lost_total",
        "counter",
        "Records that left the log before they reached the lake: missing there for ever.",
        &|of| of.lost_total.load(Relaxed) as f64,
    );
    each(
        "millstream_lake_up",
        "gauge",
        "0: the table can't be written now; the log says why.",
        &|of| f64::from(u8::from(of.trouble().is_none())),
    );
}
