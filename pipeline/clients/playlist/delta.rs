//! Delta updates made whole (bis 6.2.5.1, 6.3.7).

use super::MediaPlaylist;

/// A delta update that doesn't fit the playlist it should update.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {msn} was skipped and isn't known from before")]
pub struct DeltaError {
    /// The first segment that is missing.
    pub msn: u64,
}

impl MediaPlaylist {
    /// This playlist with its skipped segments taken from `previous`. A
    /// playlist that skips nothing stays as it is.
    ///
    /// # Errors
    /// [`DeltaError`]: a skipped segment isn't in `previous`; the whole
    /// playlist must be fetched.
    pub fn with_skipped(mut self, previous: &Self) -> Result<Self, DeltaError> {
        let Some(skip) = self.skip.take() else {
            return Ok(self);
        };
        let mut segments = Vec::with_capacity(skip.segments as usize + self.segments.len());
        for msn in self.media_sequence..self.media_sequence + skip.segments {
            let known = msn
                .checked_sub(previous.media_sequence)
                .and_then(|index| previous.segments.get(index as usize))
                .filter(|segment| segment.head.msn == msn);
            segments.push(known.cloned().ok_or(DeltaError { msn })?);
        }
        // What the skipped segments' tags say goes on after them.
        if let Some(last) = segments.last() {
            let mut map = last.head.map.clone();
            let mut clock = last.head.pdt_us.map(|us| us + (last.duration * 1e6).round() as i64);
            let mut sequence = last.head.discontinuity_sequence;
            let listed = self.segments.iter_mut().map(|s| (Some(s.duration), &mut s.head));
            for (duration, head) in listed.chain(self.open.iter_mut().map(|head| (None, head))) {
                if head.discontinuity {
                    sequence += 1;
                    clock = None;
                }
                head.discontinuity_sequence = sequence;
                map = head.map.take().or(map);
                head.map.clone_from(&map);
                clock = head.pdt_tag_us.or(clock);
                head.pdt_us = clock;
                clock = clock.zip(duration).map(|(us, d)| us + (d * 1e6).round() as i64);
            }
        }
        segments.append(&mut self.segments);
        self.segments = segments;
        Ok(self)
    }
}
