//! `count`, quick and small where different texts are counted in many groups.
//!
//! DataFusion gives each group a set of its own that is never smaller than 16 KiB: a
//! month of minutes takes gigabytes. Here each text is kept once for all groups, and
//! what a group has seen is a number for each.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{filter, is_not_null, not, nullif, prep_null_mask_filter, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{HashSet, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::count;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::physical_expr_common::binary_map::OutputType;
use datafusion::physical_expr_common::binary_view_map::ArrowBytesViewMap;

/// DataFusion's, but for `count(DISTINCT text)` in groups.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Count(count::Count);

fn counts_texts(args: &AccumulatorArgs<'_>) -> bool {
    let is_text = |field: &FieldRef| *field.data_type() == DataType::Utf8View;
    // What such a count is ordered by comes as further columns, and it's none the other for it.
    let is_ordered = !args.order_bys.is_empty();
    args.is_distinct && !is_ordered && matches!(args.expr_fields, [field] if is_text(field))
}

impl AggregateUDFImpl for Count {
    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        counts_texts(&args) || self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if counts_texts(&args) {
            return Ok(Box::new(DistinctTexts::new()));
        }
        self.0.create_groups_accumulator(args)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn is_nullable(&self) -> bool {
        self.0.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.0.accumulator(args)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.0.create_sliding_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.0.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.0.reverse_expr()
    }

    fn default_value(&self, kind: &DataType) -> Result<ScalarValue> {
        self.0.default_value(kind)
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.0.value_from_stats(args)
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.0.set_monotonicity(kind)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }
}

/// How many different texts each group has seen; nulls are none.
struct DistinctTexts {
    // Each text of any group, and its number: 0, 1, 2 …
    texts: ArrowBytesViewMap<u32>,
    // Group and number, as `key` has them.
    seen: HashSet<u64>,
    // By group.
    counts: Vec<i64>,
    // Of the batch at hand: its texts' numbers.
    numbers: Vec<u32>,
}

fn key(group: usize, number: u32) -> u64 {
    (group as u64) << 32 | u64::from(number)
}

/// Group and number.
fn parts(key: u64) -> (usize, u32) {
    ((key >> 32) as usize, key as u32)
}

/// The one column, and null where the filter says that it doesn't count.
fn counted(values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<ArrayRef> {
    let [texts] = values else {
        return internal_err!("count(DISTINCT …) of {} columns of texts", values.len());
    };
    let Some(filter) = filter else { return Ok(Arc::clone(texts)) };
    let excluded = not(&prep_null_mask_filter(filter))?;
    Ok(nullif(texts, &excluded)?)
}

impl DistinctTexts {
    fn new() -> Self {
        let texts = ArrowBytesViewMap::new(OutputType::Utf8View);
        Self { texts, seen: HashSet::default(), counts: Vec::new(), numbers: Vec::new() }
    }

    /// Looks up the numbers of these texts; those that are new get the next ones.
    fn look_up(&mut self, texts: &ArrayRef) {
        let Self { texts: known, numbers, .. } = self;
        numbers.clear();
        let mut next = known.len() as u32;
        let new = |_: Option<&[u8]>| {
            next += 1;
            next - 1
        };
        known.insert_if_new(texts, new, |number| numbers.push(number));
    }

    fn see(&mut self, group: usize, row: usize) {
        let Some(number) = self.numbers.get(row) else { return };
        if self.seen.insert(key(group, *number))
            && let Some(count) = self.counts.get_mut(group)
        {
            *count += 1;
        }
    }

    /// Takes the first groups away: their counts, and what `given` isn't told of stays.
    fn give(&mut self, emit_to: EmitTo, mut given: impl FnMut(usize, u32)) -> Vec<i64> {
        let counts = emit_to.take_needed(&mut self.counts);
        let mut rest = HashSet::default();
        for (group, number) in self.seen.drain().map(parts) {
            match group.checked_sub(counts.len()) {
                None => given(group, number),
                Some(group) => drop(rest.insert(key(group, number))),
            }
        }
        self.seen = rest;
        counts
    }

    /// Forgets all texts but those that some group has seen: they get numbers anew.
    fn tidy(&mut self) -> Result<ArrayRef> {
        let texts = self.texts.take().into_state();
        let mut used: Vec<_> = self.seen.iter().map(|key| parts(*key).1).collect();
        used.sort_unstable();
        used.dedup();
        let kept = take(&texts, &UInt32Array::from(used.clone()), None)?;
        // 0, 1, 2 …: each differs from all others.
        self.look_up(&kept);
        let renumbered = self.seen.drain().map(parts).map(|(group, number)| {
            // All of them are found.
            let (Ok(new) | Err(new)) = used.binary_search(&number);
            key(group, new as u32)
        });
        self.seen = renumbered.collect();
        Ok(texts)
    }
}

impl GroupsAccumulator for DistinctTexts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        groups_total: usize,
    ) -> Result<()> {
        self.counts.resize(groups_total, 0);
        let texts = counted(values, filter)?;
        self.look_up(&texts);
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| texts.is_valid(*row)) {
            self.see(*group, row);
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        groups_total: usize,
    ) -> Result<()> {
        self.counts.resize(groups_total, 0);
        for lists in values {
            let lists = lists.as_list::<i32>();
            let offsets = lists.value_offsets();
            let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { continue };
            self.look_up(&lists.values().slice(*first as usize, (last - first) as usize));
            for (group, ends) in groups.iter().zip(offsets.windows(2)) {
                let &[begin, end] = ends else { continue };
                (begin - first..end - first).for_each(|row| self.see(*group, row as usize));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let counts = self.give(emit_to, |_, _| {});
        // Rarely, or each group that leaves would cost as much as all.
        if self.seen.len() < self.texts.len() / 2 {
            self.tidy()?;
        }
        Ok(Arc::new(Int64Array::from(counts)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let lengths = match emit_to {
            EmitTo::All => self.counts.iter(),
            EmitTo::First(groups) => self.counts.get(..groups).unwrap_or_default().iter(),
        };
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths.map(|count| *count as usize));
        let mut free = offsets.to_vec();
        let mut numbers = vec![0; offsets.last().map_or(0, |total| *total as usize)];
        self.give(emit_to, |group, number| {
            if let Some(at) = free.get_mut(group)
                && let Some(place) = numbers.get_mut(*at as usize)
            {
                *place = number;
                *at += 1;
            }
        });
        let texts = take(&self.tidy()?, &UInt32Array::from(numbers), None)?;
        Ok(vec![Arc::new(ListArray::new(item(), offsets, texts, None))])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        only: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let texts = counted(values, only)?;
        let is_counted = is_not_null(&texts)?;
        let lengths = is_counted.values().iter().map(usize::from);
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(vec![Arc::new(ListArray::new(item(), offsets, filter(&texts, &is_counted)?, None))])
    }

    fn size(&self) -> usize {
        // A byte beside each place of the table.
        self.texts.size()
            + self.seen.capacity() * (size_of::<u64>() + 1)
            + self.counts.capacity() * size_of::<i64>()
            + self.numbers.capacity() * size_of::<u32>()
    }
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Utf8View, true))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    fn texts(all: &[Option<&str>]) -> ArrayRef {
        Arc::new(all.iter().collect::<StringViewArray>())
    }

    fn counts(array: &ArrayRef) -> Vec<i64> {
        array.as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
    }

    const LONG: &str = "longer than what is kept in a view itself";

    fn filled() -> DistinctTexts {
        let mut all = DistinctTexts::new();
        let values = texts(&[Some("a"), None, Some(LONG), Some("a"), Some("b"), Some(LONG)]);
        all.update_batch(&[values], &[0, 0, 1, 0, 1, 1], None, 3).unwrap();
        all
    }

    #[test]
    fn each_group_counts_for_itself() {
        let mut all = filled();
        let only = BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]);
        let more = texts(&[Some("b"), Some("x"), Some("y"), Some(LONG)]);
        all.update_batch(&[more], &[2, 2, 2, 1], Some(&only), 3).unwrap();
        assert!(all.size() > 0);
        assert_eq!(counts(&all.evaluate(EmitTo::All).unwrap()), [1, 2, 1]);
        // And begins anew.
        all.update_batch(&[texts(&[Some("a")])], &[0], None, 1).unwrap();
        assert_eq!(counts(&all.evaluate(EmitTo::All).unwrap()), [1]);
    }

    #[test]
    fn what_some_have_seen_is_given_on() {
        let (mut one, mut two, mut all) = (filled(), filled(), DistinctTexts::new());
        two.update_batch(&[texts(&[Some("new")])], &[2], None, 3).unwrap();
        // Slices of a longer array, as they come from others.
        let state = one.state(EmitTo::All).unwrap();
        all.merge_batch(&[state[0].slice(0, 1)], &[1], 2).unwrap();
        all.merge_batch(&[state[0].slice(1, 2)], &[0, 1], 2).unwrap();
        all.merge_batch(&two.state(EmitTo::All).unwrap(), &[0, 1, 1], 2).unwrap();
        assert_eq!(counts(&all.evaluate(EmitTo::All).unwrap()), [3, 4]);
    }

    #[test]
    fn groups_leave_one_after_the_other() {
        for take_state in [false, true] {
            let mut all = filled();
            let given = match take_state {
                true => all.state(EmitTo::First(1)).unwrap()[0].as_list::<i32>().value(0).len(),
                false => counts(&all.evaluate(EmitTo::First(1)).unwrap())[0] as usize,
            };
            assert_eq!(given, 1);
            // What was group 1 is group 0 now, and knows what it has seen.
            all.update_batch(&[texts(&[Some(LONG), Some("c")])], &[0, 1], None, 2).unwrap();
            assert_eq!(counts(&all.evaluate(EmitTo::All).unwrap()), [2, 1]);
        }
    }

    #[test]
    fn texts_of_groups_that_left_are_forgotten() {
        for take_state in [false, true] {
            let mut all = DistinctTexts::new();
            for n in 0..1000 {
                let (last, own) = (format!("{LONG} {n}"), format!("{n}"));
                let values = texts(&[Some(&last), Some(&own), Some(&own), Some("all")]);
                all.update_batch(&[values], &[0, 1, 1, 1], None, 2).unwrap();
                match take_state {
                    true => drop(all.state(EmitTo::First(1)).unwrap()),
                    false => drop(all.evaluate(EmitTo::First(1)).unwrap()),
                }
                assert!(all.texts.len() < 10, "{}", all.texts.len());
                // What is left is this round's own and "all", which were seen.
                let again = texts(&[Some("all"), Some(&own)]);
                all.update_batch(&[again], &[0, 0], None, 1).unwrap();
                assert_eq!(all.counts, [2], "{n}");
            }
        }
    }

    #[test]
    fn what_is_filtered_out_is_not_kept() {
        let mut all = DistinctTexts::new();
        let only = BooleanArray::from(vec![Some(false), None, Some(true)]);
        all.update_batch(&[texts(&[Some("a"), Some("b"), Some("c")])], &[0, 0, 0], Some(&only), 1)
            .unwrap();
        // One, and nothing for all that doesn't count.
        assert!(all.texts.len() <= 2);
        assert_eq!(counts(&all.evaluate(EmitTo::All).unwrap()), [1]);
    }

    #[test]
    fn rows_become_states_as_they_are() {
        let values = [texts(&[Some("a"), None, Some("b"), Some("a"), Some(LONG)])];
        let only = BooleanArray::from(vec![Some(true), Some(true), Some(false), Some(true), None]);
        let mut all = DistinctTexts::new();
        let state = all.convert_to_state(&values, Some(&only)).unwrap();
        assert_eq!(state[0].len(), 5);
        all.merge_batch(&state, &[0, 0, 0, 0, 1], 2).unwrap();
        assert_eq!(counts(&all.evaluate(EmitTo::All).unwrap()), [1, 0]);
    }
}
