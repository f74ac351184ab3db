//! Numbers for monitoring.

use crate::setting::{Preset, Section, Setting, Status};
use crate::stored::store;

pub(super) static SECTION: Section = Section {
    title: "Metrics",
    rows: &[
        Setting {
            name: "statsd_host",
            cli: &["--statsd-host"],
            meta: "ADDRESS",
            summary: "Where to send StatsD metrics.",
            status: Status::Better {
                how: "sent natively, several numbers in a datagram; with or without an access log, also by \
                      asynchronous applications",
            },
            doc: "`HOST:PORT` or `unix://PATH`. Sent are `gunicorn.requests`, `gunicorn.request.duration`, \
                  `gunicorn.request.status.CODE`, `gunicorn.workers`, `gunicorn.log.warning`, `.error`, `.exception` \
                  and `.critical`, and what hooks log with `extra={\"metric\": .., \"value\": .., \"mtype\": ..}`.",
            apply: |config, value| store(&mut config.statsd_host, value),
            examples: &["localhost:8125"],
            ..Setting::ROW
        },
        Setting {
            name: "statsd_prefix",
            cli: &["--statsd-prefix"],
            default: Preset::Text(""),
            meta: "TEXT",
            summary: "What every StatsD metric's name starts with.",
            doc: "A dot is added if there is none.",
            examples: &["shop"],
            apply: |config, value| store(&mut config.statsd_prefix, value),
            ..Setting::ROW
        },
        Setting {
            name: "dogstatsd_tags",
            cli: &["--dogstatsd-tags"],
            default: Preset::Text(""),
            meta: "TAGS",
            summary: "Tags for every StatsD metric, separated by commas.",
            doc: "In the form that Datadog's agent understands.",
            examples: &["env:prod,team:web"],
            apply: |config, value| store(&mut config.dogstatsd_tags, value),
            ..Setting::ROW
        },
        Setting {
            name: "enable_backlog_metric",
            cli: &["--enable-backlog-metric"],
            summary: "Send how many connections wait to be accepted.",
            doc: "`gunicorn.backlog`, once a second, of all TCP sockets together. Linux only. With it an idle server wakes up.",
            apply: |config, value| store(&mut config.enable_backlog_metric, value),
            ..Setting::SWITCH
        },
    ],
};
