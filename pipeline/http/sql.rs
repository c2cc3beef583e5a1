//! `/api/sql`: questions to the lake, for analysts and holders of the admin token.

use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use queries::{Error, Format, Rows, arrow_stream, named};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::auth::Analyst;
use super::{App, Problem};
use crate::urls::Base;

/// The media type of an Arrow IPC stream.
pub const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Longest answer as JSON, in bytes: it is made in memory, so that an error in
/// mid-answer still is a problem document.
const JSON_BYTES_MAX: usize = 64 << 20;

/// `POST /api/sql`: one of both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// One statement that only reads.
    sql: Option<String>,
    /// A query that comes with us, by its name.
    named: Option<String>,
}

/// A column of a JSON answer.
#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    r#type: String,
    comment: Option<&'a str>,
}

/// Answers a question: `{columns, rows}` as JSON, or an Arrow IPC stream for
/// those who accept that.
pub async fn ask(
    _: Analyst,
    State(app): State<App>,
    urls: Base,
    headers: HeaderMap,
    body: Result<Json<Question>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(question) = body.map_err(|error| Problem::bad_request(error.body_text()))?;
    let sql = match (question.sql, question.named) {
        (Some(sql), None) => sql,
        (None, Some(name)) => match named::find(&name) {
            Some(query) => query.sql().to_owned(),
            None => return Err(Problem::bad_request(format!("no query is named {name:?}"))),
        },
        _ => return Err(Problem::bad_request("say either sql or named")),
    };
    let accepts = |media: &str| {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        accepted.flat_map(|value| value.split(',')).any(|one| one.trim().starts_with(media))
    };
    let wants_arrow = accepts(ARROW);
    let rows = app.sql.query(&sql, urls.pages()).await.map_err(problem)?;
    let (media, body) = if wants_arrow {
        (ARROW, Body::from_stream(arrow_stream(rows).map_err(problem)?))
    } else {
        ("application/json", Body::from(json(rows).await?))
    };
    // Whoever has the token asks; nobody in between keeps it.
    Ok(([(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// Rows of a question of ours, each as a `T`.
pub(super) async fn parsed<T: DeserializeOwned>(app: &App, sql: &str) -> Result<Vec<T>, Problem> {
    #[derive(Deserialize)]
    struct Answer<T> {
        rows: Vec<T>,
    }
    let answer = json(app.sql.query(sql, "").await.map_err(problem)?).await?;
    let Answer { rows } = serde_json::from_slice(&answer)
        .map_err(|error| problem(Error::Internal(error.to_string())))?;
    Ok(rows)
}

async fn json(mut rows: Rows) -> Result<Vec<u8>, Problem> {
    let schema = rows.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| Column {
            name: field.name(),
            r#type: field.data_type().to_string(),
            comment: field.metadata().get(records::schema::COMMENT).map(String::as_str),
        })
        .collect();
    let internal = |error: serde_json::Error| problem(Error::Internal(error.to_string()));
    let mut out = b"{\"columns\":".to_vec();
    serde_json::to_writer(&mut out, &columns).map_err(internal)?;
    out.extend_from_slice(b",\"rows\":");
    let too_long = |_| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "the answer can't be written as JSON of at most {JSON_BYTES_MAX} bytes; \
                 add LIMIT or ask with Accept: {ARROW}"
            ),
        )
    };
    let mut writer = Format::Json.begin(&schema, Capped(out)).map_err(too_long)?;
    while let Some(batch) = rows.next().await {
        writer.write(&batch.map_err(problem)?).map_err(too_long)?;
    }
    let Capped(mut out) = writer.finish().map_err(too_long)?;
    out.push(b'}');
    Ok(out)
}

/// Bytes up to a bound.
struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > JSON_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn problem(error: Error) -> Problem {
    let status = match &error {
        Error::Refused(_) => StatusCode::FORBIDDEN,
        Error::Sql(_) | Error::TooLong { .. } | Error::TooDeep { .. } => StatusCode::BAD_REQUEST,
        Error::TooManyRows { .. } | Error::TooLarge { .. } | Error::TimedOut(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Error::Busy | Error::Closed | Error::Start(_) => StatusCode::SERVICE_UNAVAILABLE,
        // The asker runs this server, so may know which file is broken.
        Error::Lake { .. } | Error::Storage { .. } => {
            tracing::error!(%error, "a query can't read the lake");
            StatusCode::SERVICE_UNAVAILABLE
        }
        Error::Internal(_) => {
            tracing::error!(%error, "a query failed");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    Problem::new(status, error.to_string())
}
