//! Every case of `spec/edge`, read whole and at every cut: a result that comes with some of the bytes is the result that
//! comes with all of them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken case has to stop the test"
)]

#[path = "../../http1/tests/support/text.rs"]
mod text;

use std::path::Path;

use oxicorn_edge::proxy::{self, Found, Versions};
use oxicorn_edge::uwsgi;
use oxicorn_http1::{Framing, Head, Version};
use text::{bytes_of, visible};

/// A case: its title and its blocks.
struct Case {
    title: String,
    text: String,
}

impl Case {
    fn block(&self, kind: &str) -> Option<&str> {
        let (_, rest) = self.text.split_once(&format!("```{kind}\n"))?;
        Some(rest.split_once("\n```").expect("a block ends").0)
    }

    fn expect(&self) -> Vec<&str> {
        self.block("expect")
            .expect("an expectation")
            .lines()
            .collect()
    }

    /// The bytes that are sent.
    fn bytes(&self) -> Vec<u8> {
        match self.block("packet") {
            Some(lines) => packet(lines),
            None => bytes_of(self.block("request").expect("bytes")),
        }
    }
}

fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../spec/edge")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let sections = text.split("\n## ").skip(1);
    let case = |section: &str| {
        let (title, text) = section.split_once("\n\n").expect("a heading");
        assert!(!text.starts_with("```"), "{title}: no citation");
        Case {
            title: title.to_owned(),
            text: text.to_owned(),
        }
    };
    sections.map(case).collect()
}

fn packet(lines: &str) -> Vec<u8> {
    let mut variables = Vec::new();
    for line in lines.lines() {
        let (name, value) = line.split_once('=').expect("NAME=value");
        for text in [bytes_of(name), bytes_of(value)] {
            variables.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
            variables.extend(text);
        }
    }
    let [low, high] = u16::try_from(variables.len()).unwrap().to_le_bytes();
    [vec![0, low, high, 0], variables].concat()
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

// PROXY headers

fn versions(case: &Case) -> Versions {
    match case.block("policy") {
        None => Versions::Both,
        Some("proxy_protocol: v1") => Versions::One,
        Some("proxy_protocol: v2") => Versions::Two,
        Some(other) => panic!("{other}"),
    }
}

fn header_of(bytes: &[u8], versions: Versions) -> Vec<String> {
    let header = match proxy::find(bytes, versions) {
        Ok(Found::Header(header)) => header,
        Ok(Found::Nothing) => return vec!["no header".into()],
        Ok(Found::Begun | Found::Undecided) => return vec!["incomplete".into()],
        Err(malformed) => return vec![format!("rejected: {malformed}")],
    };
    let name = header.protocol.name();
    let mut lines = vec![match header.addresses {
        Some(ends) => format!("{name} {} {}", ends.source, ends.destination),
        None => name.to_owned(),
    }];
    if header.len < bytes.len() {
        lines.push(format!("then {}", escaped(&bytes[header.len..])));
    }
    lines
}

#[test]
fn every_proxy_header_is_read_as_its_case_says() {
    for case in cases("proxy.md") {
        let seen = header_of(&case.bytes(), versions(&case));
        assert_eq!(
            seen,
            case.expect(),
            "{}\n{}",
            case.title,
            visible(&case.bytes())
        );
    }
}

#[test]
fn a_proxy_header_is_the_same_however_it_is_cut() {
    for case in cases("proxy.md") {
        let (bytes, versions) = (case.bytes(), versions(&case));
        let whole = proxy::find(&bytes, versions);
        let early = (0..bytes.len()).map(|cut| proxy::find(&bytes[..cut], versions));
        for found in early.filter(|found| !matches!(found, Ok(Found::Begun | Found::Undecided))) {
            assert_eq!(found, whole, "{}", case.title);
        }
    }
}

#[test]
fn every_fault_of_a_proxy_header_has_a_case() {
    let spec: Vec<String> = cases("proxy.md")
        .iter()
        .map(|case| case.expect()[0].into())
        .collect();
    for malformed in proxy::Malformed::ALL {
        assert!(
            spec.contains(&format!("rejected: {malformed}")),
            "{malformed}"
        );
    }
    for protocol in proxy::Protocol::ALL {
        let named = |line: &String| line.split(' ').next() == Some(protocol.name());
        assert!(spec.iter().any(named), "{protocol:?}");
    }
}

// uwsgi packets

/// A packet as it was understood; the head's spans lie in these bytes.
struct Understood {
    packet: Vec<u8>,
    head: Head,
}

fn request_of(bytes: &[u8]) -> Result<Option<Understood>, uwsgi::Malformed> {
    let (mut packet, mut head) = (bytes.to_vec(), Head::default());
    let complete = uwsgi::parse(&mut packet, &mut head)?;
    Ok(complete.then_some(Understood { packet, head }))
}

impl Understood {
    fn line(&self) -> String {
        let Self { packet, head } = self;
        let version = match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        };
        let [method, target] = [head.method, head.target].map(|span| escaped(span.of(packet)));
        format!("{method} {target} {version}")
    }

    fn fields(&self) -> Vec<String> {
        let text = |span: oxicorn_http1::Span| escaped(span.of(&self.packet));
        let fields = self.head.fields.iter();
        fields
            .map(|field| format!("field {}: {}", text(field.name), text(field.value)))
            .collect()
    }

    fn fact(&self, name: &str) -> String {
        let Self { packet, head } = self;
        match name {
            "path" => escaped(head.path.of(packet)),
            "query" => escaped(head.query.of(packet)),
            "host" => head
                .host
                .map_or("none".into(), |host| escaped(host.of(packet))),
            "client" => uwsgi::client(packet).map_or("none".into(), |client| client.to_string()),
            "https" => if uwsgi::is_https(packet) { "yes" } else { "no" }.into(),
            "body" => match head.framing {
                Framing::Length(length) => length.to_string(),
                _ => "none".into(),
            },
            _ => panic!("{name} is no fact"),
        }
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let mut all = uwsgi::parameters(&self.packet);
        all.find(|(known, _)| *known == name.as_bytes())
            .map(|(_, value)| escaped(value))
    }

    fn check(&self, case: &Case) {
        let (title, expect) = (&case.title, case.expect());
        assert_eq!(self.line(), expect[0], "{title}");
        let (fields, facts): (Vec<&str>, Vec<&str>) = expect[1..]
            .iter()
            .copied()
            .partition(|line| line.starts_with("field "));
        assert_eq!(self.fields(), fields, "{title}");
        if !facts.iter().any(|fact| fact.starts_with("body: ")) {
            assert_eq!(self.fact("body"), "none", "{title}");
        }
        for fact in facts {
            if let Some(name) = fact.strip_prefix("no parameter ") {
                assert_eq!(self.parameter(name), None, "{title}");
                continue;
            }
            let (name, value) = fact.split_once(": ").expect("NAME: value");
            match name.strip_prefix("parameter ") {
                Some(name) => assert_eq!(self.parameter(name).as_deref(), Some(value), "{title}"),
                None => assert_eq!(self.fact(name), value, "{title}: {name}"),
            }
        }
        assert_eq!(self.head.len as usize, self.packet.len(), "{title}");
        assert!(!self.head.keep_alive && !self.head.expect_continue && !self.head.upgrade);
    }
}

#[test]
fn every_packet_is_read_as_its_case_says() {
    for case in cases("uwsgi.md") {
        match request_of(&case.bytes()) {
            Ok(Some(understood)) => understood.check(&case),
            Ok(None) => assert_eq!(case.expect(), ["incomplete"], "{}", case.title),
            Err(malformed) => {
                let line = format!("rejected {}: {malformed}", malformed.status());
                assert_eq!(case.expect(), [line], "{}", case.title);
            }
        }
    }
}

#[test]
fn a_packet_is_the_same_however_it_is_cut_and_when_it_is_read_again() {
    for case in cases("uwsgi.md") {
        let bytes = case.bytes();
        let whole = request_of(&bytes);
        for cut in 0..bytes.len() {
            match request_of(&bytes[..cut]) {
                Ok(found) => assert!(found.is_none(), "{} at {cut}", case.title),
                Err(malformed) => assert_eq!(Some(malformed), whole.as_ref().err().copied()),
            }
        }
        if let Ok(Some(first)) = whole {
            let again = request_of(&first.packet).unwrap().unwrap();
            assert!(
                again.head == first.head && again.packet == first.packet,
                "{}",
                case.title
            );
            again.check(&case);
        }
    }
}

#[test]
fn what_follows_a_packet_changes_nothing() {
    for case in cases("uwsgi.md")
        .iter()
        .filter(|case| case.block("packet").is_some())
    {
        let more = [&case.bytes()[..], b"body, and a tail"].concat();
        let alone = request_of(&case.bytes()).map(|found| found.map(|found| found.head));
        let followed = request_of(&more).map(|found| found.map(|found| found.head));
        assert!(alone == followed, "{}", case.title);
    }
}

#[test]
fn every_fault_of_a_packet_has_a_case() {
    let spec: Vec<String> = cases("uwsgi.md")
        .iter()
        .map(|case| case.expect()[0].into())
        .collect();
    for malformed in uwsgi::Malformed::ALL {
        let line = format!("rejected {}: {malformed}", malformed.status());
        assert!(spec.contains(&line), "{malformed}");
    }
}
