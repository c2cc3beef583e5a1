//! Millstream: live streaming of your own, as a dataflow.
//!
//! Enters: RTMP from publishers, HTTP from viewers. Leaves: low-latency HLS, and chat.
//! The way in is [`server`], which puts the parts together; what happens to a
//! packet is in [`graph`].

pub mod announcements;
pub mod catalog;
pub mod chat;
pub mod cli;
pub mod config;
pub mod dataflow;
pub mod events;
pub mod faults;
pub mod feed;
pub mod gateway;
pub mod graph;
pub mod health;
pub mod http;
pub mod journal;
pub mod keys;
pub mod metrics;
pub mod providers;
pub mod registry;
pub mod server;
pub mod settings;
pub mod tail;
pub mod thumbnails;
pub mod tls;
pub mod urls;
pub mod videos;
