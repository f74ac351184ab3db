//! The table: every setting, in documentation order, one file for each section.
//!
//! Rows are data. How they are read, checked, rendered and tested is elsewhere, so that adding a
//! setting means adding a row here and a field in [`Config`](crate::Config).

mod asgi;
mod control;
mod debugging;
mod dirty;
mod files;
mod hooks;
mod http;
mod http2;
mod limits;
mod logging;
mod metrics;
mod process;
mod proxy;
mod socket;
mod timeouts;
mod tls;
mod workers;

use crate::setting::{Section, Setting};

/// All sections, in documentation order.
pub static SECTIONS: [&Section; 17] = [
    &files::SECTION,
    &socket::SECTION,
    &workers::SECTION,
    &timeouts::SECTION,
    &limits::SECTION,
    &http::SECTION,
    &proxy::SECTION,
    &process::SECTION,
    &logging::SECTION,
    &debugging::SECTION,
    &metrics::SECTION,
    &hooks::SECTION,
    &tls::SECTION,
    &http2::SECTION,
    &asgi::SECTION,
    &dirty::SECTION,
    &control::SECTION,
];

/// Every setting, in documentation order.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.name == name)
}
