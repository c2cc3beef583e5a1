//! What of recordings is not kept any more, whatever their descriptions say.
//!
//! Enters: renditions that are gone, or about to be. Leaves: nothing of them, in no
//! playlist and by no address. Held: a list for each broadcast that lacks some.

use records::{Rendition, StreamId};

use super::{Library, Object, VodError, Wanted};

impl Library {
    /// From now on a broadcast plays without these renditions: they are not stored
    /// any more, or soon won't be. None: with all that it has.
    pub fn leave_out(&self, stream: StreamId, renditions: &[Rendition]) {
        match renditions {
            [] => self.left_out.lock().remove(&stream),
            some => self.left_out.lock().insert(stream, some.into()),
        };
        self.forget(stream);
    }

    /// For whoever has no catalogue to ask: leaves out what is not stored, by looking
    /// for the first segment of each rendition. How many are left.
    ///
    /// # Errors
    /// See [`VodError`].
    pub async fn look(&self, stream: StreamId) -> Result<usize, VodError> {
        let recording = self.recording(Wanted { stream, piece_us: None }).await?;
        let mut gone = Vec::new();
        for track in &recording.tracks {
            let mut stored = recording.moments.iter().zip(&track.stored);
            let Some((first, _)) = stored.find(|(_, stored)| stored.is_some()) else {
                continue;
            };
            let (rendition, msn) = (track.rendition, first.msn);
            match self.read(Object::Segment { stream, rendition, msn }).await {
                Ok(_) => {}
                Err(VodError::Missing) => gone.push(rendition),
                Err(error) => return Err(error),
            }
        }
        self.leave_out(stream, &gone);
        Ok(recording.tracks.len() - gone.len())
    }
}
