//! An answer in each format.

use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::fixture::Fixture;
use crate::{Error, Format, Limits, arrow_stream};

const SQL: &str = "SELECT log_offset, kind, detail, at FROM events ORDER BY log_offset LIMIT 2";
const NONE: &str = "SELECT log_offset, kind FROM events WHERE kind = 'x'";

async fn written(fixture: &Fixture, sql: &str, format: Format) -> Vec<u8> {
    let mut rows = fixture.session.query(sql, "").await.unwrap();
    let mut writer = format.begin(&rows.schema(), Vec::new()).unwrap();
    while let Some(batch) = rows.next().await {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.finish().unwrap()
}

async fn text(fixture: &Fixture, sql: &str, format: Format) -> String {
    String::from_utf8(written(fixture, sql, format).await).unwrap()
}

#[tokio::test]
async fn texts_are_as_expected() {
    let fixture = Fixture::with_rows().await;
    assert_eq!(
        text(&fixture, SQL, Format::Csv).await,
        "log_offset,kind,detail,at\n\
         0,CREATED,,2026-11-20T12:00:00Z\n\
         1,STREAM_ACTIVE,,2026-11-20T12:00:01Z\n"
    );
    assert_eq!(
        text(&fixture, SQL, Format::Json).await,
        "[{\"log_offset\":0,\"kind\":\"CREATED\",\"detail\":null,\"at\":\"2026-11-20T12:00:00Z\"},\
         {\"log_offset\":1,\"kind\":\"STREAM_ACTIVE\",\"detail\":null,\"at\":\"2026-11-20T12:00:01Z\"}]\n"
    );
    let table = text(&fixture, SQL, Format::Table).await;
    assert!(table.contains("| 1          | STREAM_ACTIVE |"), "{table}");
    assert!(table.ends_with("2 rows\n"), "{table}");
}

#[tokio::test]
async fn answers_without_rows_still_have_columns() {
    let fixture = Fixture::with_rows().await;
    assert_eq!(text(&fixture, NONE, Format::Csv).await, "log_offset,kind\n");
    assert_eq!(text(&fixture, NONE, Format::Json).await, "[]\n");
    let table = text(&fixture, NONE, Format::Table).await;
    assert!(table.contains("kind") && table.ends_with("0 rows\n"), "{table}");
    let parquet = Bytes::from(written(&fixture, NONE, Format::Parquet).await);
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap();
    assert_eq!(reader.schema().fields().len(), 2);
}

#[tokio::test]
async fn parquet_and_arrow_come_back_as_they_were() {
    let fixture = Fixture::with_rows().await;
    let sql = "SELECT * FROM segments ORDER BY log_offset";
    let direct = fixture.rows(sql).await.unwrap();
    let direct = arrow::compute::concat_batches(&direct[0].schema(), &direct).unwrap();

    let parquet = Bytes::from(written(&fixture, sql, Format::Parquet).await);
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap().build().unwrap();
    let back: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let back = arrow::compute::concat_batches(&back[0].schema(), &back).unwrap();
    assert_eq!(back.columns(), direct.columns());

    let rows = fixture.session.query(sql, "").await.unwrap();
    let pieces: Vec<Bytes> = arrow_stream(rows).unwrap().try_collect().await.unwrap();
    let reader = StreamReader::try_new(std::io::Cursor::new(pieces.concat()), None).unwrap();
    let schema = reader.schema();
    let back: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let back = arrow::compute::concat_batches(&schema, &back).unwrap();
    assert_eq!(back.columns(), direct.columns());
    assert_eq!(
        schema.field_with_name("bytes").unwrap().metadata()["comment"],
        "size of its file in bytes"
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let fixture = Fixture::new(Limits { rows: 20_000, threads: 1, ..Limits::default() }, None);
    let rows = fixture.session.query("SELECT * FROM generate_series(1, 100000)", "").await.unwrap();
    let pieces: Vec<_> = arrow_stream(rows).unwrap().collect().await;
    assert!(matches!(pieces.last(), Some(Err(Error::TooManyRows { .. }))), "{pieces:?}");
}

#[test]
fn formats_have_names() {
    assert_eq!("csv".parse::<Format>().unwrap(), Format::Csv);
    assert!("xls".parse::<Format>().unwrap_err().to_string().contains("parquet"));
    assert!(Format::Table.is_text() && !Format::Arrow.is_text());
}
