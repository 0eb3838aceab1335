//! `adal serve`: bring up, wait for a signal, take down.

use std::{process::ExitCode, sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use super::Done;
use crate::{
    app::{App, StartError},
    clock::SteadyClock,
    config::Config,
    http::server::{self, Server},
    logging,
    metrics::{self, Exporter},
};

/// How the program ends whose entities another server has taken: the code for "try again" (EX_TEMPFAIL of sysexits.h).
const DEPOSED: u8 = 75;

pub(super) fn run(config: Config) -> Done {
    logging::init(&config.log)?;
    actix_rt::System::new().block_on(async {
        let mut signals = Signals::new()?;
        // Another server may have the entities, for as long as it lives: to wait for them is ended by a signal, too.
        let running = tokio::select! {
            running = Running::start(config) => running?,
            () = signals.next() => {
                tracing::info!("stopped before anything was served");
                return Ok(ExitCode::SUCCESS);
            }
        };
        tracing::info!(
            url = %running.server.url(),
            metrics = running.exporter.as_ref().map(|exporter| exporter.addr.to_string()),
            store = running.app.store.place(),
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
        let store = Arc::clone(&running.app.store);
        let code = tokio::select! {
            () = signals.next() => {
                tracing::info!("stopping; a second signal ends at once");
                ExitCode::SUCCESS
            }
            why = store.deposed() => {
                tracing::error!(%why, "deposed: nothing is served any more; start again to stand by");
                ExitCode::from(DEPOSED)
            }
        };
        drop(store);
        tokio::select! {
            () = running.stop() => {
                tracing::info!("stopped");
                Ok(code)
            }
            () = signals.next() => {
                tracing::warn!("ended at once: what was acknowledged is durable");
                // Threads may hang in what the first signal waited for: nothing is left to wait for them.
                std::process::exit(130)
            }
        }
    })
}

/// SIGTERM and SIGINT. Listened to before anything is brought up: a signal during a long start is not lost.
pub(crate) struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// Everything that serves.
pub(crate) struct Running {
    pub(crate) app: Arc<App>,
    pub(crate) server: Server,
    pub(crate) exporter: Option<Exporter>,
}

impl Running {
    /// The store first (one server per file), then the listeners: nobody is accepted who cannot be served.
    pub(crate) async fn start(config: Config) -> Result<Self, StartError> {
        let (listen, scrape) = (config.server.listen.clone(), config.metrics.listen.clone());
        metrics::install()?;
        let clock = Arc::new(SteadyClock::start(config.clock.belief()));
        let app = App::open(config, clock).await?;
        let listening = Self::listen(&app, &listen, &scrape);
        match listening {
            Ok((server, exporter)) => Ok(Self { app, server, exporter }),
            Err(error) => {
                app.stop(Duration::from_secs(2)).await;
                Err(error)
            }
        }
    }

    fn listen(app: &Arc<App>, listen: &str, scrape: &str) -> Result<(Server, Option<Exporter>), StartError> {
        let exporter = if scrape.is_empty() {
            None
        } else {
            let failed = |source| StartError::Listen { address: format!("{scrape} (metrics.listen)"), source };
            Some(Exporter::start(metrics::install()?, scrape).map_err(failed)?)
        };
        Ok((server::start(Arc::clone(app), listen)?, exporter))
    }

    /// Refuses what is new, answers what is under way, writes what is decided, closes the store: half of the time for
    /// the first two, half for the others.
    pub(crate) async fn stop(self) {
        let within = Duration::from_secs(self.app.config.server.stop_within_s.max(1));
        let half = within / 2;
        self.app.announce_stop();
        if tokio::time::timeout(half, self.server.stop()).await.is_err() {
            tracing::warn!("requests under way did not end in time");
        }
        if let Some(exporter) = self.exporter {
            exporter.stop().await;
        }
        self.app.stop(half).await;
    }
}
