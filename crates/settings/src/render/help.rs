//! The help text.

use crate::cli;

/// What `--help` prints, for a terminal of at least 100 columns.
pub fn help() -> String {
    cli::command().term_width(100).render_help().to_string()
}
