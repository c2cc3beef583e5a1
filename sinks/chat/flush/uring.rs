//! Sends in batches: one system call for up to a hundred writes.
//!
//! Each send carries `MSG_DONTWAIT`, so the kernel completes it before the call returns:
//! nothing is in flight afterwards, and the bytes need not outlive [`Uring::write`].

use std::io;
use std::os::fd::AsRawFd as _;

use io_uring::{IoUring, opcode, types};
use rustix::io::{Errno, Result};
use rustix::net::SendFlags;

use super::outlet::Write;

/// A result that hasn't come.
const OUTSTANDING: i32 = i32::MIN;

pub(super) struct Uring {
    ring: IoUring,
    results: Vec<i32>,
}

impl Uring {
    pub fn new(batch: usize) -> io::Result<Self> {
        let entries = batch.next_power_of_two() as u32;
        // Kernels before 6.1 know less; then plainly.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(entries)
            .or_else(|_| IoUring::new(entries))?;
        Ok(Self { ring, results: Vec::new() })
    }

    /// False if the ring failed and mustn't be used again. Then `done` is empty (nothing was
    /// handed over), or whole: what may have been sent or not is EIO, since to send it again
    /// could put a frame into a frame. At most `batch` writes.
    pub fn write(
        &mut self,
        bytes: &[u8],
        writes: &[Write<'_>],
        done: &mut Vec<Result<usize>>,
    ) -> bool {
        self.results.clear();
        self.results.resize(writes.len(), OUTSTANDING);
        let flags = (SendFlags::DONTWAIT | SendFlags::NOSIGNAL).bits() as i32;
        for (index, write) in writes.iter().enumerate() {
            let piece = &bytes[write.from..write.to];
            let entry = opcode::Send::new(
                types::Fd(write.socket.as_raw_fd()),
                piece.as_ptr(),
                piece.len() as u32,
            )
            .flags(flags)
            .build()
            .user_data(index as u64);
            #[expect(unsafe_code, reason = "io_uring takes pointers; the crate can't check them")]
            // SAFETY: `bytes` and the sockets are borrowed for this whole call. The loop below
            // leaves only when every entry has completed or the ring is unusable and dropped
            // by the caller, and an entry with MSG_DONTWAIT is never left running.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_err() {
                return false;
            }
        }
        let mut left = writes.len();
        while left > 0 {
            match self.ring.submit_and_wait(left) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
                Err(_) => break,
            }
            for completed in self.ring.completion() {
                if let Some(result) = self.results.get_mut(completed.user_data() as usize) {
                    *result = completed.result();
                    left -= 1;
                }
            }
        }
        done.extend(self.results.iter().map(|&result| match result {
            OUTSTANDING => Err(Errno::IO),
            0.. => Ok(result as usize),
            _ => Err(Errno::from_raw_os_error(-result)),
        }));
        left == 0
    }
}
