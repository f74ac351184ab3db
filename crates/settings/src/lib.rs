#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod abbreviations;
mod address;
mod choices;
mod ciphers;
mod cli;
mod config;
mod destination;
mod invalid;
mod kind;
mod networks;
mod number;
mod ready_check;
pub mod render;
mod resolve;
mod setting;
mod shlex;
mod sources;
mod spelling;
mod stored;
pub mod table;
mod toml_file;
mod typed;
mod usage;
mod value;

pub use address::Address;
pub use choices::{
    HeaderMap, Interface, LogFormat, LogLevel, Protocol, ProxyProtocol, RestartMode, WorkerClass,
};
pub use ciphers::Ciphers;
pub use config::Config;
pub use destination::{Facility, FieldName, HostPort, SocketKind, StatsdAddress, SyslogAddress};
pub use invalid::{Invalid, Warning};
pub use kind::{Kind, MOST_WORKERS};
pub use networks::Networks;
pub use ready_check::ReadyCheck;
pub use resolve::FileValues;
pub use setting::{Apply, Preset, Reads, Section, Setting, Status, Variable};
pub use sources::process_environment;
pub use spelling::{Means, Said, Spelling, Takes};
pub use toml_file::read_toml;
pub use typed::{CommandLine, Typed, Unusable, parse_command_line};
pub use value::Value;
