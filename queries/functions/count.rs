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
    groups: Vec<Seen>,
    // What `groups` have on the heap.
    bytes: usize,
    // Of the batch at hand: its texts' numbers.
    numbers: Vec<u32>,
}

/// A group's numbers. Few of them lie side by side, where looking at all is quicker than
/// to hash one.
enum Seen {
    Few(Vec<u32>),
    Many(HashSet<u32>),
}

/// Numbers up to which they are few.
const FEW: usize = 64;

impl Default for Seen {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl FromIterator<u32> for Seen {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut seen = Self::default();
        numbers.into_iter().for_each(|number| seen.insert(number));
        seen
    }
}

impl Seen {
    fn insert(&mut self, number: u32) {
        match self {
            Self::Few(numbers) if numbers.contains(&number) => {}
            Self::Few(numbers) if numbers.len() < FEW => numbers.push(number),
            Self::Few(numbers) => {
                let mut many: HashSet<_> = numbers.drain(..).collect();
                many.insert(number);
                *self = Self::Many(many);
            }
            Self::Many(numbers) => drop(numbers.insert(number)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Few(numbers) => numbers.len(),
            Self::Many(numbers) => numbers.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let (few, many) = match self {
            Self::Few(numbers) => (Some(numbers), None),
            Self::Many(numbers) => (None, Some(numbers)),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten()).copied()
    }

    /// On the heap.
    fn bytes(&self) -> usize {
        match self {
            Self::Few(numbers) => numbers.capacity() * size_of::<u32>(),
            Self::Many(numbers) => numbers.allocation_size(),
        }
    }
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
        Self { texts, groups: Vec::new(), bytes: 0, numbers: Vec::new() }
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

    /// A group sees a row of the batch at hand.
    fn see(&mut self, group: usize, row: usize) {
        if let Some(number) = self.numbers.get(row)
            && let Some(seen) = self.groups.get_mut(group)
        {
            let before = seen.bytes();
            seen.insert(*number);
            self.bytes = self.bytes + seen.bytes() - before;
        }
    }

    /// Takes the first groups away.
    fn give(&mut self, emit_to: EmitTo) -> Vec<Seen> {
        let given = emit_to.take_needed(&mut self.groups);
        self.bytes -= given.iter().map(Seen::bytes).sum::<usize>();
        given
    }

    /// Forgets all texts but those that some group has seen: they get numbers anew. All
    /// texts, by the numbers that they had.
    fn tidy(&mut self) -> Result<ArrayRef> {
        let texts = self.texts.take().into_state();
        let (mut kept, mut renumbered) = (Vec::new(), vec![None; texts.len()]);
        for seen in &mut self.groups {
            let new = seen.iter().filter_map(|number| {
                let new = renumbered.get_mut(number as usize)?;
                Some(*new.get_or_insert_with(|| {
                    kept.push(number);
                    kept.len() as u32 - 1
                }))
            });
            *seen = new.collect();
        }
        self.bytes = self.groups.iter().map(Seen::bytes).sum();
        // 0, 1, 2 …: each differs from all others.
        self.look_up(&take(&texts, &UInt32Array::from(kept), None)?);
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
        self.groups.resize_with(groups_total, Seen::default);
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
        self.groups.resize_with(groups_total, Seen::default);
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
        let given = self.give(emit_to);
        // Rarely, or each group that leaves would cost as much as all.
        if self.groups.iter().map(Seen::len).sum::<usize>() < self.texts.len() / 2 {
            self.tidy()?;
        }
        Ok(Arc::new(given.iter().map(|seen| Some(seen.len() as i64)).collect::<Int64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let given = self.give(emit_to);
        let offsets = OffsetBuffer::<i32>::from_lengths(given.iter().map(Seen::len));
        let numbers: UInt32Array = given.iter().flat_map(Seen::iter).map(Some).collect();
        let texts = take(&self.tidy()?, &numbers, None)?;
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
        self.texts.size()
            + self.bytes
            + self.groups.capacity() * size_of::<Seen>()
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
    fn many_are_counted_as_few_are() {
        let names: Vec<_> = (0..500).map(|n| format!("{LONG} {}", n * 7 % 300)).collect();
        let different = names.iter().collect::<std::collections::HashSet<_>>().len();
        assert!(different > 2 * FEW);
        let all: Vec<_> = names.iter().map(|name| Some(name.as_str())).collect();
        let (mut one, mut two) = (DistinctTexts::new(), DistinctTexts::new());
        for (half, begin) in [(&mut one, 0), (&mut two, 250)] {
            half.update_batch(&[texts(&[Some("few")])], &[0], None, 1).unwrap();
            half.update_batch(&[texts(&all[begin..begin + 250])], &[1; 250], None, 2).unwrap();
        }
        assert!(one.bytes > 100 * size_of::<u32>());
        // Its few leave, and the rest gets numbers anew.
        one.state(EmitTo::First(1)).unwrap();
        one.merge_batch(&two.state(EmitTo::All).unwrap(), &[1, 0], 2).unwrap();
        assert_eq!(counts(&one.evaluate(EmitTo::All).unwrap()), [different as i64, 1]);
        assert_eq!((one.bytes, two.bytes), (0, 0));
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
                assert_eq!(all.groups[0].len(), 2, "{n}");
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
