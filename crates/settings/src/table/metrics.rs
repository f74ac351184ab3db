//! Numbers for monitoring.

use crate::kind::Kind;
use crate::setting::{Preset, Section, Setting, Status};

/// What the rows of this section start from.
const ROW: Setting = Setting {
    status: Status::Later {
        meanwhile: "take the numbers from the access log or from the proxy",
    },
    ..Setting::ROW
};

pub(super) static SECTION: Section = Section {
    title: "Metrics",
    rows: &[
        Setting {
            name: "statsd_host",
            cli: &["--statsd-host"],
            meta: "ADDRESS",
            summary: "Where to send StatsD metrics.",
            doc: "`HOST:PORT` or `unix://PATH`.",
            examples: &["localhost:8125"],
            ..ROW
        },
        Setting {
            name: "statsd_prefix",
            cli: &["--statsd-prefix"],
            default: Preset::Text(""),
            meta: "TEXT",
            summary: "What every StatsD metric's name starts with.",
            doc: "A dot is added if there is none.",
            examples: &["shop"],
            ..ROW
        },
        Setting {
            name: "dogstatsd_tags",
            cli: &["--dogstatsd-tags"],
            default: Preset::Text(""),
            meta: "TAGS",
            summary: "Tags for every StatsD metric, separated by commas.",
            doc: "In the form that Datadog's agent understands.",
            examples: &["env:prod,team:web"],
            ..ROW
        },
        Setting {
            name: "enable_backlog_metric",
            cli: &["--enable-backlog-metric"],
            kind: Kind::Bool,
            default: Preset::Bool(false),
            meta: "BOOL",
            summary: "Send how many connections wait to be accepted.",
            doc: "Linux only.",
            ..ROW
        },
    ],
};
