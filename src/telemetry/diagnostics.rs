//! What the daemon says of itself.

use tracing_subscriber::EnvFilter;

/// Sends diagnostics to standard error as JSON lines; `CONSENTRY_LOG` sets their level, `level` is used without it.
pub fn diagnostics(level: &str) {
    let filter = EnvFilter::try_from_env("CONSENTRY_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second call keeps the first subscriber.
    let _already_set = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
