//! The ways in and out: who accepts at which socket.
//!
//! Enters: sockets that listen, and the server behind them. Leaves: nothing.
//! Held: a task for each socket, which holds its connections. Ends in two
//! steps, since viewers stay for the end of what publishers sent.

use std::sync::Arc;

use queries::{Flight, Postgres};
use sources::rtmp::{self, Lanes, RtmpMeters};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::StartError;
use super::listen::Sockets;
use crate::config::Config;
use crate::http::{self, App};
use crate::settings;

/// Tasks, and the word that ends them.
pub(crate) struct Doors {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Doors {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    /// One more; its task ends soon after what it is given turns true.
    pub(crate) fn open<F>(&mut self, serve: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(serve(self.stop.subscribe()));
    }

    /// Resolves when they are to close.
    fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.stop.subscribe();
        async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        }
    }

    /// Ends them, and waits for it.
    pub(crate) async fn close(&mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// See the module.
pub(super) struct Front {
    publishers: Doors,
    viewers: Doors,
}

impl Front {
    /// Lets everybody in.
    pub(super) async fn open(
        config: &Config,
        app: &App,
        meters: &Arc<RtmpMeters>,
        sockets: Sockets,
    ) -> Result<Self, StartError> {
        let http = sockets.addresses().http;
        let mut publishers = Doors::new();
        let rtmp_config = Arc::new(settings::rtmp(config));
        let lanes = Lanes::start().map(Arc::new).map_err(StartError::Lanes)?;
        for (listener, tls) in with_secured(sockets.rtmp, sockets.rtmps) {
            let (gate, config) = (Arc::clone(&app.registry), Arc::clone(&rtmp_config));
            let (lanes, meters) = (Arc::clone(&lanes), Arc::clone(meters));
            let closing = publishers.closing();
            publishers
                .tasks
                .spawn(rtmp::serve(listener, tls, lanes, gate, config, meters, closing));
        }

        let mut viewers = Doors::new();
        let router = http::router(app.clone());
        for (listener, tls) in with_secured(sockets.http, sockets.https) {
            let (app, router) = (app.clone(), router.clone());
            viewers.open(|stop| http::serve(listener, tls, Some(app), router, stop));
        }
        if let Some(listener) = sockets.postgres {
            let entrance = settings::entrance(config, app, http, b"postgresql")?;
            let server = Postgres::new(app.sql.clone(), entrance).await?;
            viewers.tasks.spawn(server.serve(listener, viewers.closing()));
        }
        if let Some(listener) = sockets.flight {
            let entrance = settings::entrance(config, app, http, b"h2")?;
            let server = Flight::new(app.sql.clone(), entrance);
            viewers.tasks.spawn(server.serve(listener, viewers.closing()));
        }
        Ok(Self { publishers, viewers })
    }

    /// Sends publishers away.
    pub(super) async fn close_publishers(&mut self) {
        self.publishers.close().await;
    }

    /// Sends everybody else away.
    pub(super) async fn close_viewers(&mut self) {
        self.viewers.close().await;
    }
}

/// A plain socket, and one with a certificate if there is one.
pub(crate) fn with_secured<L, T>(
    plain: L,
    secured: Option<(L, T)>,
) -> impl Iterator<Item = (L, Option<T>)> {
    let secured = secured.map(|(listener, tls)| (listener, Some(tls)));
    std::iter::once((plain, None)).chain(secured)
}
