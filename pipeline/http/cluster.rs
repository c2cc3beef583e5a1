//! `/api/cluster`: the data plane's generations, and what its operators do.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use records::{PacketBody, StreamId};
use runtime::{EngineStatus, OperatorReport, Rescaled, ScaleError};
use serde::{Deserialize, Serialize};

use super::auth::Admin;
use super::{App, Problem};
use crate::faults::{Death, Step};

/// `GET /api/cluster`.
#[derive(Serialize)]
pub struct Cluster {
    #[serde(flatten)]
    engine: EngineStatus,
    epoch: u64,
    operators: Vec<OperatorReport>,
    queues: Vec<Queue>,
}

/// A queue into or out of the data plane.
#[derive(Serialize)]
pub struct Queue {
    /// Its name.
    pub name: &'static str,
    /// Bytes waiting.
    pub bytes: usize,
    /// Bytes beyond which sources pause; none for queues that bound each stream instead.
    pub budget_bytes: Option<usize>,
    /// Records ever put in.
    pub records_total: u64,
}

/// All queues of the data plane.
#[must_use]
pub fn queues(app: &App) -> Vec<Queue> {
    let intake =
        |name, bytes, records_total| Queue { name, bytes, budget_bytes: None, records_total };
    let plane = &app.plane;
    let mut queues = vec![
        intake("packets", plane.packets.unread_bytes(), plane.packets.written_total()),
        intake("encoded", plane.encoded.unread_bytes(), plane.encoded.written_total()),
    ];
    queues.extend(plane.credit().edges.iter().map(|edge| Queue {
        name: edge.name,
        bytes: edge.bytes(),
        budget_bytes: Some(edge.budget_bytes),
        records_total: edge.records_total(),
    }));
    queues
}

/// What the data plane is doing.
pub async fn show(State(app): State<App>) -> Json<Cluster> {
    let epoch = app.engine.clock().tick();
    Json(Cluster {
        engine: app.engine.status(),
        epoch,
        operators: app.engine.meters().snapshot(epoch),
        queues: queues(&app),
    })
}

/// `PUT /api/cluster/workers`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    workers: usize,
}

/// Changes the worker count; 0 stops the data plane, sockets stay open.
pub async fn scale(
    _: Admin,
    State(app): State<App>,
    Json(wanted): Json<Scale>,
) -> Result<Json<Rescaled>, Problem> {
    let engine = app.engine.clone();
    // Blocks for the length of the pause, some milliseconds.
    let outcome = tokio::task::spawn_blocking(move || engine.scale(wanted.workers)).await;
    match outcome {
        Ok(Ok(rescaled)) => Ok(Json(rescaled)),
        Ok(Err(error @ ScaleError::OutOfRange(_))) => Err(Problem::bad_request(error.to_string())),
        Ok(Err(error)) => Err(Problem::unavailable("rescaling", &error)),
        Err(error) => Err(Problem::unavailable("rescaling", &error)),
    }
}

/// `POST /api/cluster/faults`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    stream_id: StreamId,
    operator: String,
    #[serde(default = "once")]
    times: u32,
}

fn once() -> u32 {
    1
}

/// Makes an operator panic on a stream's next record (`debug.faults` only).
pub async fn inject(
    _: Admin,
    State(app): State<App>,
    Json(fault): Json<Fault>,
) -> Result<StatusCode, Problem> {
    allowed(&app)?;
    const OPERATORS: [&str; 6] = ["demux", "transcode", "segment", "hls", "archive", "moderate"];
    if !OPERATORS.contains(&fault.operator.as_str()) {
        return Err(Problem::bad_request(format!("operator must be one of {OPERATORS:?}")));
    }
    let site = records::FaultSite {
        operator: fault.operator.into(),
        times_left: std::sync::Arc::new(fault.times.into()),
    };
    let is_there = match &*site.operator {
        "moderate" => app.chat.desk.trip(fault.stream_id, site),
        _ => app.registry.push(fault.stream_id, PacketBody::Fault(site)),
    };
    if is_there { Ok(StatusCode::ACCEPTED) } else { Err(Problem::unknown_stream()) }
}

/// `POST /api/cluster/faults/lake`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LakeDeath {
    table: String,
    at: String,
    #[serde(default = "once")]
    times: u32,
}

/// Ends the process as SIGKILL does, within a commit of the lake (`debug.faults` only).
pub async fn inject_death(
    _: Admin,
    State(app): State<App>,
    Json(death): Json<LakeDeath>,
) -> Result<StatusCode, Problem> {
    allowed(&app)?;
    let LakeDeath { table, at, times } = death;
    let (Some(table), Some(at)) = (lake::Table::find(&table), lake::Fault::find(&at)) else {
        return Err(Problem::bad_request(
            "table must be one of the lake's, and at read, written or committed",
        ));
    };
    app.lake_faults.order(Death { table, at, times });
    Ok(StatusCode::ACCEPTED)
}

/// `POST /api/cluster/faults/tiers`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierDeath {
    at: String,
    #[serde(default = "once")]
    times: u32,
}

/// Ends the process as SIGKILL does, while an old recording is moved or thinned
/// (`debug.faults` only).
pub async fn inject_tier_death(
    _: Admin,
    State(app): State<App>,
    Json(TierDeath { at, times }): Json<TierDeath>,
) -> Result<StatusCode, Problem> {
    allowed(&app)?;
    let Some(step) = Step::find(&at) else {
        let names = Step::ALL.map(|(name, _)| name).join(", ");
        return Err(Problem::bad_request(format!("at must be one of {names}")));
    };
    app.step_faults.order(step, times);
    Ok(StatusCode::ACCEPTED)
}

fn allowed(app: &App) -> Result<(), Problem> {
    if app.faults_enabled {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "fault injection is off; set debug.faults = true on a server that nobody watches",
    ))
}
