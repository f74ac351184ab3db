//! What gunicorn 27.0.1 prints, line by line, and where this log prints something safer.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::*;
use crate::access::Lookup;

const ZONE_AND_FORMAT: (TimeZone, &str) = (TimeZone::UTC, "[%d/%b/%Y:%H:%M:%S %z]");

/// The lookups of the request that every test logs.
fn header_in(name: &str) -> Option<&'static [u8]> {
    match name {
        "host" => Some(b"example.com"),
        "x-trace" => Some(b"t-1"),
        "authorization" => Some(b"Basic YWRhOnB3"),
        "user-agent" => Some(b"curl/8 \"x\""),
        "referer" => Some(b"http://r/"),
        "x-empty" => Some(b""),
        _ => None,
    }
}

fn header_out(name: &str) -> Option<&'static [u8]> {
    match name {
        "content-type" => Some(b"text/html"),
        "x-two" => Some(b"b"),
        _ => None,
    }
}

fn environ(name: &str) -> Option<&'static [u8]> {
    match name.to_ascii_lowercase().as_str() {
        "remote_addr" => Some(b"203.0.113.9"),
        "wsgi.url_scheme" => Some(b"http"),
        _ => None,
    }
}

fn request<'a>() -> Record<'a> {
    Record {
        remote: b"203.0.113.9",
        request_line: b"GET /a%20b?x=1 HTTP/1.1",
        method: b"GET",
        path: b"/a b",
        query: b"x=1",
        protocol: "HTTP/1.1",
        status: 404,
        body_bytes: Some(1234),
        duration: Duration::from_micros(12_034_567),
        pid: 4242,
        now_unix: 1_767_323_045,
        header_in: &|name| header_in(name),
        header_out: &|name| header_out(name),
        environ: &|name| environ(name),
    }
}

fn line_of(format: &str, record: &Record<'_>) -> String {
    let (zone, shape) = ZONE_AND_FORMAT;
    let mut out = b"kept ".to_vec();
    let format = Format::parse(format).unwrap_or_else(|error| panic!("{format}: {error}"));
    format.write(record, &mut LocalTime::new(zone, shape), &mut out);
    String::from_utf8(out)
        .unwrap()
        .strip_prefix("kept ")
        .unwrap()
        .to_owned()
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (format, expected) in table {
        assert_eq!(line_of(format, &request()), *expected, "{format}");
    }
}

#[test]
fn the_default_is_the_combined_log_format() {
    check(&[(
        DEFAULT_FORMAT,
        "203.0.113.9 - ada [02/Jan/2026:03:04:05 +0000] \"GET /a%20b?x=1 HTTP/1.1\" 404 1234 \
         \"http://r/\" \"curl/8 \\\"x\\\"\"",
    )]);
}

#[test]
fn every_atom_prints_what_gunicorn_prints() {
    check(&[
        ("%(h)s", "203.0.113.9"),
        ("%(l)s", "-"),
        ("%(u)s", "ada"),
        ("%(t)s", "[02/Jan/2026:03:04:05 +0000]"),
        ("%(r)s", "GET /a%20b?x=1 HTTP/1.1"),
        ("%(m)s", "GET"),
        ("%(U)s", "/a b"),
        ("%(q)s", "x=1"),
        ("%(H)s", "HTTP/1.1"),
        ("%(s)s", "404"),
        ("%(B)s", "1234"),
        ("%(b)s", "1234"),
        ("%(f)s", "http://r/"),
        ("%(a)s", "curl/8 \\\"x\\\""),
        ("%(T)s", "12"),
        ("%(M)s", "12034"),
        ("%(D)s", "12034567"),
        ("%(L)s", "12.034567"),
        ("%(p)s", "<4242>"),
    ]);
}

#[test]
fn the_families_are_found_whatever_the_case() {
    check(&[
        (
            "%({host}i)s %({X-Trace}i)s %({x-trace}I)s %({nope}i)s",
            "example.com t-1 t-1 -",
        ),
        (
            "%({content-type}o)s %({X-TWO}o)s %({nope}O)s",
            "text/html b -",
        ),
        (
            "%({REMOTE_ADDR}e)s %({remote_addr}e)s %({nope}e)s",
            "203.0.113.9 203.0.113.9 -",
        ),
        ("%({wsgi.url_scheme}E)s", "http"),
        ("[%({x-empty}i)s]", "[]"),
    ]);
}

#[test]
fn unknown_atoms_print_a_dash() {
    check(&[
        ("%(x)s %(hh)s %({host}x)s %({host})s %()s", "- - - - -"),
        ("%(a(b)c)s", "-"),
    ]);
}

#[test]
fn two_percent_signs_are_one() {
    check(&[
        ("100%% %(s)s%%", "100% 404%"),
        ("%%%%(h)s", "%%(h)s"),
        ("", ""),
        ("plain", "plain"),
    ]);
}

#[test]
fn text_is_laid_out_as_python_does() {
    check(&[
        ("%(h)-15s|", "203.0.113.9    |"),
        ("%(h)--15s|", "203.0.113.9    |"),
        ("%(h)15s|", "    203.0.113.9|"),
        ("%(h)015s|", "    203.0.113.9|"),
        ("%(h)5s|", "203.0.113.9|"),
        ("%(h).5s|", "203.0|"),
        ("%(h).s|", "|"),
        ("%(h)8.3s|", "     203|"),
        (
            "%(h)hs %(h)ls %(h)Ls",
            "203.0.113.9 203.0.113.9 203.0.113.9",
        ),
        ("%(a)12s|", "curl/8 \\\"x\\\"|"),
        (
            "%(T)+s|%(T)5s|%(T)-5s|%(T)05s|%(T).1s",
            "12|   12|12   |   12|1",
        ),
    ]);
}

#[test]
fn numbers_are_laid_out_as_python_does() {
    check(&[
        (
            "%(D)d %(D)i %(D)u %(D)ld",
            "12034567 12034567 12034567 12034567",
        ),
        ("%(T)5d|%(T)-5d|%(T)05d|%(T)-05d", "   12|12   |00012|12   "),
        (
            "%(T)+d|%(T)+05d|%(T) d|%(T)+ d|%(T)#d",
            "+12|+0012| 12|+12|12",
        ),
        (
            "%(T).4d|%(T)6.4d|%(T)08.4d|%(T)+8.4d",
            "0012|  0012|00000012|   +0012",
        ),
        ("%(s)d %(b)d %(B)d %(M)d", "404 1234 1234 12034"),
    ]);
}

#[test]
fn r_quotes_what_is_text_in_gunicorn() {
    check(&[
        (
            "%(m)r %(s)r %(b)r %(p)r %(t)a",
            "'GET' '404' '1234' '<4242>' '[02/Jan/2026:03:04:05 +0000]'",
        ),
        ("%(B)r %(T)r %(M)r %(D)r", "1234 12 12034 12034567"),
        ("%(h)-16r|", "'203.0.113.9'   |"),
    ]);
    let quoted = Record {
        path: b"/it's \\ \"\n",
        ..request()
    };
    assert_eq!(line_of("%(U)r", &quoted), r#"'/it\'s \\ \"\x0a'"#);
}

#[test]
fn a_body_that_was_never_counted_prints_a_dash() {
    let unsent = Record {
        body_bytes: None,
        ..request()
    };
    assert_eq!(
        line_of("%(b)s %(B)s %(B)d [%(B)03d]", &unsent),
        "- - - [  -]"
    );
}

#[test]
fn a_peer_without_an_address_prints_a_dash() {
    let unix = Record {
        remote: b"",
        ..request()
    };
    assert_eq!(line_of("%(h)s %(l)s", &unix), "- -");
}

#[test]
fn a_duration_is_whole_beyond_a_day_and_below_a_second() {
    let record = |duration| Record {
        duration,
        ..request()
    };
    let long = record(Duration::from_secs(100_000));
    assert_eq!(
        line_of("%(T)s %(M)s %(D)s %(L)s", &long),
        "100000 100000000 100000000000 100000.000000"
    );
    let short = record(Duration::from_nanos(7_999));
    assert_eq!(line_of("%(T)s %(M)s %(D)s %(L)s", &short), "0 0 7 0.000007");
}

#[test]
fn a_missing_or_foreign_authorization_has_no_user() {
    for credentials in [
        None,
        Some(&b"Bearer abc"[..]),
        Some(b"Basic !!!"),
        Some(b"Basic"),
    ] {
        let lookup = |name: &str| {
            if name == "authorization" {
                credentials
            } else {
                None
            }
        };
        let record = Record {
            header_in: &lookup,
            ..request()
        };
        assert_eq!(line_of("%(u)s", &record), "-", "{credentials:?}");
    }
}

#[test]
fn a_user_name_is_escaped_after_it_was_decoded() {
    let lookup: &Lookup<'_> = &|_| Some(b"Basic YSJcCmI6cHc=");
    let record = Record {
        header_in: lookup,
        ..request()
    };
    assert_eq!(line_of("%(u)s", &record), r#"a\"\\\x0ab"#);
}

#[test]
fn no_value_of_a_client_can_end_its_field_or_line() {
    let evil: &[u8] = b"\" 200\r\n203.0.113.1 \\\x00\x1b[2J\x7f\xff\xc2\x85";
    let lookup: &Lookup<'_> = &|_| Some(evil);
    let record = Record {
        remote: evil,
        request_line: evil,
        method: evil,
        path: evil,
        query: evil,
        header_in: lookup,
        header_out: lookup,
        environ: lookup,
        ..request()
    };
    let safe = r#"\" 200\x0d\x0a203.0.113.1 \\\x00\x1b[2J\x7f\xff\xc2\x85"#;
    for atom in ["h", "r", "m", "U", "q", "f", "a", "{x}i", "{x}o", "{x}e"] {
        assert_eq!(line_of(&format!("%({atom})s"), &record), safe, "{atom}");
        assert_eq!(line_of(&format!("%({atom})10s"), &record), safe, "{atom}");
    }
}

#[test]
fn a_cut_never_splits_an_escape_or_a_character() {
    let agent: &Lookup<'_> = &|_| Some("ab\"\u{e9}\u{65e5}\n".as_bytes());
    let record = Record {
        header_in: agent,
        ..request()
    };
    let cuts = [
        ("%(a).2s", "ab"),
        ("%(a).3s", "ab\\\""),
        ("%(a).4s", "ab\\\"\u{e9}"),
        ("%(a).5s", "ab\\\"\u{e9}\u{65e5}"),
        ("%(a).6s", "ab\\\"\u{e9}\u{65e5}\\x0a"),
        ("%(a)7.4s", "  ab\\\"\u{e9}"),
        ("%(a)-7.4s", "ab\\\"\u{e9}  "),
    ];
    for (format, expected) in cuts {
        assert_eq!(line_of(format, &record), expected, "{format}");
    }
}

#[test]
fn bytes_that_are_no_utf8_count_as_characters_of_a_cut() {
    let record = Record {
        path: b"\x80\x80\x80\x80",
        ..request()
    };
    assert_eq!(line_of("%(U).2s", &record), r"\x80\x80");
    let cut_inside = Record {
        path: b"\xe6\x97a",
        ..request()
    };
    assert_eq!(line_of("%(U).3s", &cut_inside), r"\xe6\x97a");
}

#[test]
fn a_format_tells_what_it_wants() {
    let format = Format::parse("%(u)s %(a)s %({User-Agent}i)s %({X}o)s %({wsgi.x}e)s").unwrap();
    let wants = format.wants();
    assert_eq!(wants.request_headers, ["authorization", "user-agent"]);
    assert_eq!(wants.response_headers, ["x"]);
    assert_eq!(wants.environ, ["wsgi.x"]);
    assert!(format.needs_environ() && format.needs_response_headers());
    let plain = Format::default();
    assert_eq!(
        plain.wants().request_headers,
        ["authorization", "referer", "user-agent"]
    );
    assert!(!plain.needs_environ() && !plain.needs_response_headers());
}

#[test]
fn what_gunicorn_would_fail_on_at_each_request_is_refused() {
    let cases = [
        ("a %(h", FormatError::Unfinished { at: 2 }),
        ("a %(h)", FormatError::Unfinished { at: 2 }),
        ("100%", FormatError::Unfinished { at: 3 }),
        ("%% %s", FormatError::Nameless { at: 3 }),
        ("%(h)q", FormatError::Conversion { at: 0, found: 'q' }),
        (
            "\u{e9}%(h)\u{e9}",
            FormatError::Conversion {
                at: 2,
                found: '\u{e9}',
            },
        ),
        ("%(h)%", FormatError::Conversion { at: 0, found: '%' }),
        ("%(h)*s", FormatError::Conversion { at: 0, found: '*' }),
        ("%(D)x", FormatError::Conversion { at: 0, found: 'x' }),
        (
            "%(h)d",
            FormatError::NotNumber {
                at: 0,
                name: "h".to_owned(),
            },
        ),
        (
            "%(L)d",
            FormatError::NotNumber {
                at: 0,
                name: "L".to_owned(),
            },
        ),
        (
            "%({x}i)d",
            FormatError::NotNumber {
                at: 0,
                name: "{x}i".to_owned(),
            },
        ),
        ("%(h)4097s", FormatError::TooWide { at: 0 }),
        (
            "%(h).99999999999999999999999s",
            FormatError::TooWide { at: 0 },
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(Format::parse(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn a_refusal_names_place_and_remedy() {
    let message = |text| Format::parse(text).unwrap_err().to_string();
    assert_eq!(
        message("%(h)s %s"),
        "the directive at 6 has no name, as %(h)s has"
    );
    assert_eq!(
        message("%(h)d"),
        "the directive at 0 wants a number, but \"h\" is text: write s"
    );
    assert_eq!(
        message("%(h)x"),
        "the directive at 0 ends with 'x', not with s, r or d"
    );
    assert_eq!(
        message("5%"),
        "the directive at 1 has no end (a percent sign is written %%)"
    );
}

#[test]
fn writing_twice_into_the_same_room_allocates_nothing_more() {
    let format = Format::parse("%(h)-40s \"%(a)s\" %(U)r %(D)012d").unwrap();
    let (zone, shape) = ZONE_AND_FORMAT;
    let mut clock = LocalTime::new(zone, shape);
    let mut out = Vec::new();
    format.write(&request(), &mut clock, &mut out);
    let (first, room) = (out.clone(), out.capacity());
    out.clear();
    format.write(&request(), &mut clock, &mut out);
    assert_eq!((out.capacity(), &out), (room, &first));
}

/// The line of [`request`] with named fields.
fn fields_of(notation: Notation, text: Option<&str>, request_id: Option<&str>) -> String {
    let format = Format::fields(notation, text, request_id).unwrap();
    let mut clock = LocalTime::new(TimeZone::UTC, "%Y-%m-%dT%H:%M:%S%:z");
    let mut out = Vec::new();
    format.write(&request(), &mut clock, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_line_of_json_names_what_was_asked_and_answered() {
    assert_eq!(
        fields_of(Notation::Json, None, None),
        r#"{"time":"2026-01-02T03:04:05+00:00","level":"info","log":"access","pid":4242,"#
            .to_owned()
            + r#""remote_addr":"203.0.113.9","user":"ada","method":"GET","path":"/a b","query":"x=1","#
            + r#""protocol":"HTTP/1.1","status":404,"bytes":1234,"duration":12.034567,"#
            + r#""referer":"http://r/","user_agent":"curl/8 \"x\""}"#
    );
}

#[test]
fn a_line_of_logfmt_has_the_same_fields() {
    assert_eq!(
        fields_of(Notation::Logfmt, None, Some("X-Trace")),
        "time=2026-01-02T03:04:05+00:00 level=info log=access pid=4242 ".to_owned()
            + r#"remote_addr=203.0.113.9 user=ada method=GET path="/a b" query="x=1" "#
            + "protocol=HTTP/1.1 status=404 bytes=1234 duration=12.034567 "
            + r#"referer=http://r/ user_agent="curl/8 \"x\"" request_id=t-1"#
    );
}

#[test]
fn the_directives_of_a_format_are_the_fields_each_once_and_those_that_are_there() {
    let format = "%(t)s [%(h)s] %(m)s %(s)d %(b)s %(B)s %(D)s %({X-Trace}i)s %({x-none}i)s \
                  %({X-Two}o)s %({wsgi.url_scheme}e)s %(l)s %(nonsense)s";
    assert_eq!(
        fields_of(Notation::Json, Some(format), Some("x-trace")),
        r#"{"time":"2026-01-02T03:04:05+00:00","level":"info","log":"access","pid":4242,"#
            .to_owned()
            + r#""remote_addr":"203.0.113.9","method":"GET","status":404,"bytes":1234,"#
            + r#""duration_us":12034567,"request.x-trace":"t-1","response.x-two":"b","#
            + r#""environ.wsgi.url_scheme":"http"}"#
    );
}

#[test]
fn fields_want_what_their_values_come_from() {
    let format = Format::fields(Notation::Json, None, Some("X-Request-ID")).unwrap();
    assert_eq!(
        format.wants().request_headers,
        ["authorization", "referer", "user-agent", "x-request-id"]
    );
}
