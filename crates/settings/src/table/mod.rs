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
use crate::spelling::Means;

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

/// The setting that an argument of `oxicorn.run` is for, and the word that it is there: the setting's
/// own name, or that of a spelling with a form of its own.
pub fn argument(name: &str) -> Option<(&'static Setting, &'static str)> {
    let spelled = |setting: &'static Setting| {
        let one = setting.spellings.iter().find(|one| one.argument == name)?;
        let word = match one.means {
            Means::Same => setting.name,
            _ => one.argument,
        };
        Some((setting, word))
    };
    let own = find(name).map(|setting| (setting, setting.name));
    own.or_else(|| settings().find_map(spelled))
}

/// The argument of `oxicorn.run` that is the most like a name.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let words = settings().flat_map(|setting| {
        let others = setting.spellings.iter().map(|one| one.argument);
        others
            .chain([setting.name])
            .map(|word| (word, word.to_owned()))
    });
    most_alike(name, words)
}

/// Of some names, with spellings of them, the one whose spelling is the most like another name.
pub(crate) fn most_alike(
    name: &str,
    spellings: impl Iterator<Item = (&'static str, String)>,
) -> Option<&'static str> {
    const ALIKE: f64 = 0.7;
    spellings
        .map(|(known, spelling)| {
            let likeness = strsim::normalized_damerau_levenshtein(name, &spelling);
            (known, likeness)
        })
        .filter(|(_, likeness)| *likeness >= ALIKE)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(known, _)| known)
}
