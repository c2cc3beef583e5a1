//! Counters of the origin, for metrics and the API.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use records::Rendition;

/// Upper bounds of [`LatencyHistogram`]'s buckets, in microseconds.
const BOUNDS_US: [u64; 12] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000,
];

/// How late parts become fetchable: from when a part's last frame was due
/// (its first frame's arrival plus its duration) until it can be fetched.
#[derive(Default)]
pub struct LatencyHistogram {
    // One more than BOUNDS_US: the last has no bound.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl LatencyHistogram {
    pub(super) fn record(&self, us: u64) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// `(upper bound in microseconds, observations up to it)`, cumulative as
    /// Prometheus wants them; the last bound is none, its count the total.
    #[must_use]
    pub fn cumulative(&self) -> Vec<(Option<u64>, u64)> {
        let mut total = 0;
        let bounds = BOUNDS_US.iter().map(|bound| Some(*bound)).chain([None]);
        bounds
            .zip(&self.buckets)
            .map(|(bound, bucket)| {
                total += bucket.load(Ordering::Relaxed);
                (bound, total)
            })
            .collect()
    }

    /// Sum of all observations in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }
}

/// Counters over all streams.
#[derive(Default)]
pub struct OriginMetrics {
    /// How late parts become fetchable.
    pub part_latency: LatencyHistogram,
    /// Playlists rendered. At most one per part and form, however many ask.
    pub renders_total: AtomicU64,
    /// Playlists compressed.
    pub gzips_total: AtomicU64,
    /// Requests that wait for media right now.
    pub waiting: AtomicUsize,
    /// Requests that waited in vain (503).
    pub timeouts_total: AtomicU64,
    /// Reads of segments that had left memory.
    pub cold_reads_total: AtomicU64,
    /// Such reads that failed.
    pub cold_errors_total: AtomicU64,
    /// Records that were there already, or of no open stream: a replay's.
    pub repeats_total: AtomicU64,
    /// Segments listed as gaps because no record of them came.
    pub filled_gaps_total: AtomicU64,
    /// Bytes of media in memory.
    pub hot_bytes: AtomicU64,
}

/// A stream as its viewers see it.
#[derive(Clone, Debug)]
pub struct StreamSnapshot {
    /// Whether its playlists have ENDLIST.
    pub ended: bool,
    /// Its renditions, sound first, then the source, then by height.
    pub tracks: Vec<TrackSnapshot>,
}

/// One rendition as its viewers see it.
#[derive(Clone, Debug)]
pub struct TrackSnapshot {
    /// Which rendition.
    pub rendition: Rendition,
    /// Whether the current run has it.
    pub active: bool,
    /// Highest bit rate of a listed segment, in bit/s.
    pub peak_bps: u64,
    /// Mean bit rate of the listed segments, in bit/s.
    pub average_bps: u64,
    /// Segments listed.
    pub listed_segments: usize,
    /// Seconds that they last.
    pub listed_s: f64,
    /// Bytes in memory.
    pub hot_bytes: u64,
    /// Last media sequence number that has at least a part.
    pub last_msn: Option<u64>,
    /// Last part of it.
    pub last_part: Option<u32>,
    /// Wall clock of the end of the last part, in microseconds since 1970.
    pub edge_wall_us: Option<u64>,
}
