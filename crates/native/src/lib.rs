//! The extension module `oxicorn._native`: what the thin Python package is built on. The only crate that names the
//! interpreter. Invariant: nothing here waits while it holds the interpreter lock.

mod arbiter;
mod asgi;
mod beat;
mod config;
mod convert;
mod crew;
mod ffi;
mod files;
mod gevent;
mod head;
mod interned;
mod interpreter;
mod last;
mod limits;
mod logs;
mod ports;
mod relay;
mod rows;
mod stem;
mod tls;
mod upgrade;
mod worker;
mod wsgi;

use pyo3::prelude::*;

/// Settings, arbiter, workers and logs of Oxicorn, written in Rust.
#[pymodule]
mod _native {
    use super::{Bound, PyModule, PyModuleMethods, PyResult};

    #[pymodule_export]
    use super::arbiter::{Arbiter, BindError, Seed, daemonize};
    #[pymodule_export]
    use super::asgi::Pump;
    #[pymodule_export]
    use super::config::{CommandLine, Config, ConfigError};
    #[pymodule_export]
    use super::files::FileWatch;
    #[pymodule_export]
    use super::gevent::HubPump;
    #[pymodule_export]
    use super::logs::{log, reopen_logs, send_metric, setup_logs};
    #[pymodule_export]
    use super::relay::{relay_logs, settle_logs};
    #[pymodule_export]
    use super::rows::{check_setting, read_toml, setting_rows};
    #[pymodule_export]
    use super::stem::Stem;
    #[pymodule_export]
    use super::upgrade::{beginning, check_state, undo};
    #[pymodule_export]
    use super::worker::Worker;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // First of all: from here on a new version that fails leaves the process to the former one.
        super::upgrade::begin(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
