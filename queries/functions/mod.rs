//! SQL functions of ours, beside DataFusion's.

mod chat_spike;
mod chat_usual;
mod clip;
mod count;
mod play_url;
mod time_bucket;

use std::sync::Arc;

use datafusion::catalog::{SchemaProvider, TableFunctionImpl};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

/// `clip(stream_id, from, to)`: the segments that a clip of that time would hold.
pub(crate) fn clip(tables: Arc<dyn SchemaProvider>) -> Arc<dyn TableFunctionImpl> {
    Arc::new(clip::Clip::new(tables))
}

/// `chat_spike(messages, usual)`: how unusual it is that so much was said.
pub(crate) fn chat_spike() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(chat_spike::ChatSpike::new()))
}

/// `chat_usual(messages, at) OVER (…)`: how much was said before.
pub(crate) fn chat_usual() -> Arc<WindowUDF> {
    Arc::new(WindowUDF::new_from_impl(chat_usual::ChatUsual::new()))
}

/// `count`, DataFusion's but for different texts.
pub(crate) fn count() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(count::Count::default()))
}

/// `play_url(stream_id, at)`: the address of a page that plays that moment.
pub(crate) fn play_url(base_url: &str) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(play_url::PlayUrl::new(base_url)))
}

/// `time_bucket(width, at [, origin])`: the start of the span that `at` is in.
pub(crate) fn time_bucket() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(time_bucket::TimeBucket::new()))
}
