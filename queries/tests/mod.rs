//! Against a small lake that Delta itself wrote.

mod fixture;
mod formats;
mod functions;
mod lake;
mod limits;
mod named;
mod readonly;
mod remote;
mod tail;
