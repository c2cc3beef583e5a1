//! Files that this process may open, of which each viewer takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::options::LoadError;

/// Files beyond viewers: each thread's epoll and waker, and what is opened now and then.
const SPARE: u64 = 32;
const FILES_PER_THREAD: u64 = 2;

/// Raises the soft limit to the hard one: it is low for the sake of programs that use
/// select(2), which this one doesn't.
///
/// # Errors
/// [`LoadError::Files`]: so many viewers don't fit.
pub fn allow(viewers: usize, threads: usize) -> Result<(), LoadError> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // None: as many as one likes.
    let Some(allowed) = allowed else { return Ok(()) };
    let open = std::fs::read_dir("/proc/self/fd").map_or(16, |files| files.count() as u64);
    let taken = open + FILES_PER_THREAD * (threads as u64 + 1) + SPARE;
    match allowed.saturating_sub(taken) {
        fit if fit < viewers as u64 => Err(LoadError::Files { viewers, fit, allowed }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_viewers_than_files_are_refused() {
        assert!(allow(1, 1).is_ok());
        // Where nothing is limited, nothing is refused.
        let Some(allowed) = getrlimit(Resource::Nofile).maximum else { return };
        let error = allow(allowed as usize, 1).unwrap_err();
        let LoadError::Files { fit, .. } = error else { panic!("{error}") };
        assert!(fit > 0 && fit < allowed, "{error}");
        // Other tests open files meanwhile.
        assert!(allow(fit.saturating_sub(200) as usize, 1).is_ok());
    }
}
