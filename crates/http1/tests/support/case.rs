//! One case of the specification: bytes, policy, and what must come out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use oxicorn_http1::{Form, HeaderMap, Limits, Policy, Version};

use super::drive::{Request, Seen};
use super::text::{bytes_of, visible};

/// A case, from one heading to the next.
#[derive(Debug)]
pub(crate) struct Case {
    /// `file: heading`.
    pub(crate) title: String,
    pub(crate) policy: Policy,
    pub(crate) trusted: bool,
    pub(crate) bytes: Vec<u8>,
    expect: Vec<String>,
}

/// All cases of `spec/http1`, in the order of the files.
pub(crate) fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/http1");
    let entries = std::fs::read_dir(root).expect("spec/http1 exists");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files.iter().flat_map(|file| cases_of(file)).collect()
}

fn cases_of(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file)
        .expect("readable")
        .replace("\r\n", "\n");
    let name = file
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    text.split("\n## ")
        .skip(1)
        .map(|section| Case::read(&name, section))
        .collect()
}

impl Case {
    fn read(file: &str, section: &str) -> Self {
        let (heading, rest) = section
            .split_once("\n\n")
            .expect("a heading and an empty line");
        let title = format!("{file}: {heading}");
        let citation = rest.split("\n\n").next().unwrap_or_default();
        assert!(
            !citation.is_empty() && !citation.starts_with("```"),
            "{title}: no citation"
        );
        let block = |kind| block(rest, kind);
        let (policy, trusted) = policy(block("policy").unwrap_or_default());
        let bytes = bytes_of(block("request").unwrap_or_else(|| panic!("{title}: no request")));
        let expect = block("expect").unwrap_or_else(|| panic!("{title}: no expect"));
        Self {
            title,
            policy,
            trusted,
            bytes,
            expect: expect.lines().map(str::to_owned).collect(),
        }
    }

    /// Whether all is accepted and the connection goes on: then the same bytes can follow again.
    pub(crate) fn repeats(&self) -> bool {
        let ends = |line: &String| {
            line == "keep-alive: no" || line == "incomplete" || line.contains(" request rejected: ")
        };
        !self.expect.iter().any(ends)
    }

    /// Compares what came out, and tells the story if it is not what must.
    pub(crate) fn check(&self, seen: &[Seen], how: &str) {
        let wanted = self.expect.join("\n");
        let problem = compare(&self.expect, seen).err();
        if let Some(problem) = problem {
            let ruler = "-".repeat(72);
            let sent = visible(&self.bytes);
            let mut got = String::new();
            for event in seen {
                let _ = writeln!(got, "{event:?}");
            }
            panic!(
                "{}\nfed {how}: {problem}\n{ruler}\n{sent}\n{ruler} expected\n{wanted}\n\
                 {ruler} got\n{got}",
                self.title
            );
        }
    }
}

/// The text inside the fenced block of this kind.
fn block<'t>(section: &'t str, kind: &str) -> Option<&'t str> {
    let (_, rest) = section.split_once(&format!("```{kind}\n"))?;
    let (text, _) = rest.split_once("\n```").expect("a block ends");
    Some(text)
}

fn policy(text: &str) -> (Policy, bool) {
    let mut policy = Policy::default();
    let mut trusted = false;
    let [mut line, mut fields, mut size] = [4094, 100, 8190];
    for (name, value) in text
        .lines()
        .map(|line| line.split_once(": ").expect("name: value"))
    {
        let number = || value.parse().expect("a number");
        match name {
            "limit_request_line" => line = number(),
            "limit_request_fields" => fields = number(),
            "limit_request_field_size" => size = number(),
            "header_map" => policy.header_map = header_map(value),
            "forwarder_headers" => {
                policy.forwarder_headers = value.split(',').map(str::to_owned).collect();
            }
            "permit_unconventional_http_method" => {
                policy.permit_unconventional_method = value == "true";
            }
            "permit_unconventional_http_version" => {
                policy.permit_unconventional_version = value == "true";
            }
            "casefold_http_method" => policy.casefold_method = value == "true",
            "trusted" => trusted = value == "yes",
            _ => panic!("an unknown setting {name}"),
        }
    }
    policy.limits = Limits::new(line, fields, size);
    (policy, trusted)
}

fn header_map(value: &str) -> HeaderMap {
    match value {
        "drop" => HeaderMap::Drop,
        "refuse" => HeaderMap::Refuse,
        "dangerous" => HeaderMap::Dangerous,
        _ => panic!("an unknown header_map {value}"),
    }
}

/// Walks the expected lines and the events side by side.
fn compare(expect: &[String], seen: &[Seen]) -> Result<(), String> {
    let mut events = seen.iter();
    let mut lines = expect.iter().peekable();
    while let Some(line) = lines.next() {
        let event = events.next().ok_or("an event is missing")?;
        match event {
            Seen::Incomplete => require(line == "incomplete", "incomplete")?,
            Seen::Rejected(reject) => {
                let got = format!("{} request rejected: {reject}", reject.status());
                require(*line == got, &got)?;
            }
            Seen::Request(request) => {
                let mut wanted = Wanted::from_line(line)?;
                while let Some(more) = lines.next_if(|line| is_detail(line)) {
                    wanted.note(more)?;
                }
                wanted.check(request)?;
            }
        }
    }
    require(events.next().is_none(), "one event too many")
}

fn require(holds: bool, problem: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(problem.to_owned())
    }
}

/// A line about the request before it.
fn is_detail(line: &str) -> bool {
    let starts = [
        "path:",
        "query:",
        "form:",
        "host:",
        "body:",
        "keep-alive:",
        "expect:",
        "upgrade:",
    ];
    starts.iter().any(|start| line.starts_with(start))
        || ["dropped:", "field ", "no field "]
            .iter()
            .any(|start| line.starts_with(start))
}

/// A request as the case states it; what it does not state has a default or is not compared.
struct Wanted {
    request: Request,
    compares_host: bool,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    absent: Vec<Vec<u8>>,
}

impl Wanted {
    fn from_line(line: &str) -> Result<Self, String> {
        let mut parts = line.rsplitn(2, ' ');
        let version = match parts.next() {
            Some("HTTP/1.1") => Version::Http11,
            Some("HTTP/1.0") => Version::Http10,
            _ => return Err(format!("a request came instead of {line:?}")),
        };
        let (method, target) = parts
            .next()
            .unwrap_or_default()
            .split_once(' ')
            .ok_or("no target")?;
        let target = bytes_of(target);
        let mut local = target.splitn(2, |&byte| byte == b'?');
        let [path, query] =
            [local.next(), local.next()].map(|part| part.unwrap_or_default().to_vec());
        let method = bytes_of(method);
        let request = Request {
            method,
            target,
            version,
            path,
            query,
            keep_alive: true,
            ..Request::default()
        };
        Ok(Self {
            request,
            compares_host: false,
            fields: vec![],
            absent: vec![],
        })
    }

    fn note(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match key {
            "path" => self.request.path = bytes_of(value),
            "query" => self.request.query = bytes_of(value),
            "host" => {
                self.compares_host = true;
                self.request.host = (value != "none").then(|| bytes_of(value));
            }
            "form" => self.request.form = form(value)?,
            "body" => {
                let quoted = value
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'));
                self.request.body = bytes_of(quoted.ok_or("a body is quoted")?);
            }
            "keep-alive" => self.request.keep_alive = value == "yes",
            "upgrade" => self.request.upgrade = value == "yes",
            "expect" => self.request.expect_continue = value == "100-continue",
            "dropped" => self.request.dropped = value.parse().map_err(|_| "a number")?,
            _ => self.note_field(key, value)?,
        }
        Ok(())
    }

    fn note_field(&mut self, key: &str, value: &str) -> Result<(), String> {
        if let Some(name) = key.strip_prefix("no field ") {
            self.absent.push(bytes_of(name));
            return Ok(());
        }
        let name = key.strip_prefix("field ").ok_or("an unknown line")?;
        self.fields.push((bytes_of(name), bytes_of(value)));
        Ok(())
    }

    fn check(&self, got: &Request) -> Result<(), String> {
        let mut comparable = Request {
            fields: vec![],
            ..got.clone()
        };
        if !self.compares_host {
            comparable.host = None;
        }
        require(comparable == self.request, "the request differs")?;
        let named = |name: &[u8]| -> Vec<&[u8]> {
            let same = got
                .fields
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name));
            same.map(|(_, value)| value.as_slice()).collect()
        };
        for (name, _) in &self.fields {
            let wanted = self
                .fields
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name));
            let wanted: Vec<&[u8]> = wanted.map(|(_, value)| value.as_slice()).collect();
            require(named(name) == wanted, "a field differs")?;
        }
        require(
            self.absent.iter().all(|name| named(name).is_empty()),
            "a field is there",
        )
    }
}

fn form(value: &str) -> Result<Form, String> {
    match value {
        "origin" => Ok(Form::Origin),
        "absolute" => Ok(Form::Absolute),
        "authority" => Ok(Form::Authority),
        "asterisk" => Ok(Form::Asterisk),
        _ => Err(format!("an unknown form {value}")),
    }
}
