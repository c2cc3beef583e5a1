//! Which files are worth merging.
//!
//! Files are merged with others of about their size (each tier eight times the
//! one below), so that a row is rewritten once per tier and not once per merge.
//! Of a day that is over, neighbours needn't be of one size, as long as none is much
//! larger than the others together.

use std::collections::BTreeMap;

use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::Date32Type;

use crate::writer::ROW_GROUP_ROWS;

/// Files of one tier from which on they are merged.
const FILES_MIN: usize = 16;

/// Files merged at once: of each, a page and a decompressor per column are held.
const FILES_MAX: usize = 64;

/// What files grow to, compressed.
pub(super) const BYTES_MAX: u64 = 128 << 20;

/// Compressed bytes that a merge holds of what it reads: a row group of each file.
const HELD_MAX: u64 = 32 << 20;

/// Each tier holds files up to eight times as large as the one below.
const TIER_BITS: u32 = 3;

/// A file of the table, as far as the plan needs it.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub path: String,
    /// Days since 1970.
    pub day: i32,
    pub bytes: u64,
    pub rows: u64,
}

impl File {
    /// The day as its folder has it: year, month, day. None if it isn't one.
    pub fn parse_day(text: &str) -> Option<i32> {
        Date32Type::parse(text)
    }

    /// Bytes of its largest row group: those of older versions are twice as long as ours.
    fn held(&self) -> u64 {
        let groups = self.rows.div_ceil(2 * ROW_GROUP_ROWS as u64).max(1);
        self.bytes.div_ceil(groups)
    }
}

/// The files to merge, by index: of one day, and of one tier but for days that are
/// over, as `now`, in days since 1970, has it. Large tiers go first: they are rarely
/// full, the smallest one always is.
pub(super) fn plan(files: &[File], now: i32) -> Option<Vec<usize>> {
    let newest = files.iter().map(|file| file.day).max()?;
    let is_over = |day| day < newest.min(now);
    let (mut tiers, mut over) = (BTreeMap::new(), BTreeMap::new());
    for (index, file) in files.iter().enumerate().filter(|(_, file)| file.bytes < BYTES_MAX / 2) {
        let (all, tier) = match is_over(file.day) {
            true => (&mut over, 0),
            false => (&mut tiers, file.bytes.max(1).ilog2() / TIER_BITS),
        };
        all.entry((tier, file.day)).or_insert_with(Vec::new).push(index);
    }
    let (many, few): (Vec<_>, Vec<_>) =
        over.into_values().partition(|all: &Vec<_>| all.len() >= FILES_MIN);
    let full = tiers.into_values().rev().filter(|all: &Vec<_>| all.len() >= FILES_MIN);
    many.into_iter().chain(full).chain(few).find_map(|mut all| {
        let size = |index: &usize| files.get(*index).map_or(0, |file| file.bytes);
        all.sort_by_key(size);
        // Or each late commit would rewrite the day.
        let mut rest: u64 = all.iter().map(size).sum();
        while let Some(largest) = all.last().map(size) {
            rest -= largest;
            if largest <= 2 * rest {
                break;
            }
            all.pop();
        }
        let (mut bytes, mut held) = (0, 0);
        all.retain(|index| {
            let Some(file) = files.get(*index) else { return false };
            (bytes, held) = (bytes + file.bytes, held + file.held());
            bytes <= BYTES_MAX && held <= HELD_MAX
        });
        all.truncate(FILES_MAX);
        (all.len() > 1).then_some(all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i32 = 8;

    fn files(sizes: &[(i32, u64)]) -> Vec<File> {
        let file = |(day, bytes): &(i32, u64)| File {
            path: String::new(),
            day: *day,
            bytes: *bytes,
            rows: *bytes / 20,
        };
        sizes.iter().map(file).collect()
    }

    #[test]
    fn only_neighbours_in_size_of_one_day_are_merged() {
        let mut sizes = vec![(8, 5000); FILES_MIN - 1];
        sizes.extend(vec![(8, 2_000_000); FILES_MIN - 1]);
        sizes.push((7, 5000));
        assert_eq!(plan(&files(&sizes), NOW), None);
        sizes.push((8, 6000));
        let chosen = plan(&files(&sizes), NOW).unwrap();
        assert_eq!(chosen.len(), FILES_MIN);
        assert!(chosen.iter().all(|index| sizes[*index].0 == 8 && sizes[*index].1 < 10_000));
    }

    #[test]
    fn what_is_merged_is_merged_again() {
        // The smallest tier is full at each look.
        let mut sizes = vec![(8, 5000); 32];
        sizes.extend(vec![(8, 80_000); FILES_MIN]);
        let chosen = plan(&files(&sizes), NOW).unwrap();
        assert_eq!(chosen.len(), FILES_MIN);
        assert!(chosen.iter().all(|index| sizes[*index].1 == 80_000));
    }

    #[test]
    fn a_merge_is_bounded_and_large_files_stay() {
        let many = files(&vec![(8, 3000); 1000]);
        assert_eq!(plan(&many, NOW).unwrap().len(), FILES_MAX);
        let large = files(&vec![(8, 10 << 20); 40]);
        let chosen = plan(&large, NOW).unwrap();
        assert_eq!(chosen.len(), 12);
        assert!(chosen.iter().map(|index| large[*index].held()).sum::<u64>() <= HELD_MAX);
        assert_eq!(plan(&files(&vec![(8, BYTES_MAX / 2); 40]), NOW), None);
    }

    #[test]
    fn of_a_day_that_is_over_little_is_left() {
        let sizes =
            [(7, 3000), (7, 90 << 20), (7, 5000), (7, 15_000), (8, 3000), (8, 4000), (6, 9)];
        assert_eq!(plan(&files(&sizes), NOW).unwrap(), [0, 2, 3]);
        // A late commit, and what the day was merged into.
        let sizes = [(7, 3000), (7, 23_000), (8, 4000)];
        assert_eq!(plan(&files(&sizes), NOW), None);
        assert_eq!(plan(&[], NOW), None);
    }

    #[test]
    fn days_that_are_over_wait_behind_full_tiers_unless_they_have_many() {
        let mut sizes = vec![(8, 5000); 32];
        sizes.extend([(7, 5000), (7, 5000)]);
        assert!(plan(&files(&sizes), NOW).unwrap().iter().all(|index| *index < 32));
        sizes.extend(vec![(7, 5000); FILES_MIN]);
        assert!(plan(&files(&sizes), NOW).unwrap().iter().all(|index| *index >= 32));
    }

    #[test]
    fn a_record_of_tomorrow_does_not_end_today() {
        assert_eq!(plan(&files(&[(8, 5000), (8, 5000), (9, 5000)]), NOW), None);
        assert_eq!(plan(&files(&[(8, 5000), (8, 5000), (9, 5000)]), 9).unwrap(), [0, 1]);
    }

    #[test]
    fn days_are_read() {
        assert_eq!(File::parse_day("1970-01-03"), Some(2));
        assert_eq!(File::parse_day("yesterday"), None);
    }
}
