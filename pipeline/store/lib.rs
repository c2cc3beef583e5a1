//! Where things lie: a folder of this machine or a place in an object store.
//!
//! Enters: a path or a URL, and options by the names that `object_store` has for
//! them. Leaves: a [`Place`], a client and a prefix; or a [`Root`], which may be
//! a folder as well. Held: nothing but clients. Ends: with the last clone.
//! Never here: what is stored and how, printing options: some are secrets.

mod error;
mod place;
mod root;

pub use error::{StoreError, one_line, reason};
pub use place::{Place, Tries};
pub use root::Root;
