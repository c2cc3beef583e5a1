//! The queries that come with the product: one file each in `sql/`.
//!
//! The first lines of a file are comments and say what it answers. They are
//! shared by the API, the command line and the tests, which hold the answer of
//! each to a golden file.

/// A query with a name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name: the file's, without `.sql`.
    pub name: &'static str,
    text: &'static str,
}

impl Named {
    /// What it answers, on one line.
    #[must_use]
    pub fn comment(&self) -> String {
        let lines = self.text.lines().map_while(|line| line.strip_prefix("-- "));
        lines.collect::<Vec<_>>().join(" ")
    }

    /// The statement, without the comment.
    #[must_use]
    pub fn sql(&self) -> &'static str {
        let comment: usize = self
            .text
            .split_inclusive('\n')
            .take_while(|line| line.starts_with("-- "))
            .map(str::len)
            .sum();
        self.text[comment..].trim()
    }
}

macro_rules! named {
    ($($name:literal),+ $(,)?) => {
        /// All of them, by name.
        pub const ALL: &[Named] =
            &[$(Named { name: $name, text: include_str!(concat!("sql/", $name, ".sql")) }),+];
    };
}

named![
    "broadcasts",
    "chat_per_minute",
    "concurrent_viewers",
    "encoder_health",
    "encoder_trouble",
    "moments_worth_a_clip",
    "reconnects",
    "segment_gaps",
    "segments_by_rendition",
    "stalls_by_rendition",
    "storage_by_day",
    "top_chatters",
    "video_retention",
    "videos",
];

/// The query of this name.
#[must_use]
pub fn find(name: &str) -> Option<Named> {
    ALL.iter().find(|query| query.name == name).copied()
}
