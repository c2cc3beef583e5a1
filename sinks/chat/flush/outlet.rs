//! One window to many sockets: the kernel's batches where it has them, `send` elsewhere.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};
use rustix::net::{SendFlags, send};

/// How windows are handed to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendBy {
    /// io_uring, or `send` where the kernel refuses it.
    #[default]
    Auto,
    /// `send`.
    Send,
    /// io_uring; without it the loops don't start.
    Uring,
}

/// Most writes of one batch.
pub(super) const BATCH: usize = 128;

/// What one socket gets: all bytes from `from` on, up to `to`.
pub(super) struct Write<'a> {
    pub socket: BorrowedFd<'a>,
    pub from: usize,
    pub to: usize,
}

pub(super) enum Outlet {
    Send,
    #[cfg(target_os = "linux")]
    Uring(Box<super::uring::Uring>),
}

impl Outlet {
    pub fn new(by: SendBy) -> std::io::Result<Self> {
        #[cfg(target_os = "linux")]
        if by != SendBy::Send {
            match super::uring::Uring::new(BATCH) {
                Ok(uring) => return Ok(Self::Uring(Box::new(uring))),
                Err(error) if by == SendBy::Uring => return Err(error),
                Err(error) => {
                    tracing::info!(%error, "the kernel gives no io_uring; windows go by send");
                }
            }
        }
        #[cfg(not(target_os = "linux"))]
        if by == SendBy::Uring {
            return Err(std::io::Error::other("io_uring is Linux's"));
        }
        Ok(Self::Send)
    }

    /// What it is called in figures.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send => "send",
            #[cfg(target_os = "linux")]
            Self::Uring(_) => "io_uring",
        }
    }

    /// Writes without waiting for anybody; `done` gets a result for each, in order.
    pub fn write(&mut self, bytes: &[u8], writes: &[Write<'_>], done: &mut Vec<Result<usize>>) {
        done.clear();
        match self {
            Self::Send => {}
            #[cfg(target_os = "linux")]
            Self::Uring(uring) if writes.len() > 1 => {
                if uring.write(bytes, writes, done) {
                    return;
                }
                tracing::error!("io_uring failed; windows go by send from now on");
                *self = Self::Send;
            }
            #[cfg(target_os = "linux")]
            Self::Uring(_) => {}
        }
        // Whatever the batch completed isn't sent again.
        for write in &writes[done.len()..] {
            done.push(send_now(write.socket, &bytes[write.from..write.to]));
        }
    }
}

/// Sends without waiting and without a signal if the viewer is gone.
pub(super) fn send_now(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
    loop {
        match send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
