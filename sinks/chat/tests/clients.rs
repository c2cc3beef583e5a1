//! Independent clients.
