//! Tests of heads that the spec cases do not tell apart: spans, reuse, and the two parsing paths against each other.

use super::*;

const BROWSER: &[u8] = b"GET /a/b?c=d HTTP/1.1\r\nHost: example.com:80\r\nUser-Agent: x (y; z)\r\n\
Accept: */*\r\nCookie: a=b; c_d=e\r\nX_Odd: 1\r\nEmpty: \r\n\
Connection: keep-alive, upgrade\r\n\r\n";

const SEEDS: [&[u8]; 5] = [
    BROWSER,
    b"\r\nPOST http://h/p?q HTTP/1.0\r\nHost: x\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHOST:[::1]\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
];

fn parsed(bytes: &[u8], policy: &Policy) -> Head {
    let mut head = Head::default();
    assert_eq!(
        head.parse(bytes, policy, false),
        Ok(true),
        "{}",
        bytes.escape_ascii()
    );
    head
}

#[test]
fn the_fast_and_the_slow_path_read_the_same() {
    let policy = Policy::default();
    let mut compared = 0;
    for seed in SEEDS {
        for at in 0..seed.len() {
            for byte in *b"\r\n\t :,/?#%_-0aZ\x00\x7f\xff" {
                let mut bytes = seed.to_vec();
                bytes[at] = byte;
                let (mut fast, mut slow) = (Head::default(), Head::default());
                let result = fast.read(&bytes, &policy, false);
                assert_eq!(slow.read_slowly(&bytes, &policy, false), result);
                if result == Ok(true) {
                    assert_eq!(fast, slow, "{}", bytes.escape_ascii());
                    compared += 1;
                }
            }
        }
    }
    assert!(
        compared > 1000,
        "only {compared} were accepted, which proves little"
    );
}

#[test]
fn every_part_is_where_its_span_says() {
    let head = parsed(BROWSER, &Policy::default());
    let of = |span: Span| std::str::from_utf8(span.of(BROWSER)).unwrap();
    assert_eq!(of(head.line), "GET /a/b?c=d HTTP/1.1");
    assert_eq!([of(head.method), of(head.target)], ["GET", "/a/b?c=d"]);
    assert_eq!([of(head.path), of(head.query)], ["/a/b", "c=d"]);
    assert_eq!(head.host.map(of), Some("example.com:80"));
    assert_eq!(head.len as usize, BROWSER.len());
    let names: Vec<&str> = head.fields.iter().map(|field| of(field.name)).collect();
    assert_eq!(
        names,
        [
            "Host",
            "User-Agent",
            "Accept",
            "Cookie",
            "Empty",
            "Connection"
        ]
    );
    assert_eq!(head.field(BROWSER, "COOKIE"), Some(&b"a=b; c_d=e"[..]));
    assert_eq!(head.field(BROWSER, "x_odd"), None);
}

#[test]
fn nothing_of_an_earlier_request_stays_in_a_reused_head() {
    let policy = Policy::default();
    let mut reused = Head::default();
    for seed in SEEDS.iter().chain(SEEDS.iter().rev()) {
        assert_eq!(reused.parse(seed, &policy, false), Ok(true));
        assert_eq!(reused, parsed(seed, &policy));
    }
}

#[test]
fn a_reused_head_does_not_allocate_again() {
    let policy = Policy::default();
    let mut head = parsed(BROWSER, &policy);
    let place = (head.fields.as_ptr(), head.fields.capacity());
    for seed in SEEDS {
        assert_eq!(head.parse(seed, &policy, false), Ok(true));
        assert_eq!((head.fields.as_ptr(), head.fields.capacity()), place);
    }
}

#[test]
fn bytes_after_the_head_do_not_matter() {
    let policy = Policy::default();
    for seed in SEEDS {
        let longer = [seed, b"\x00\r\r\n".as_slice()].concat();
        assert_eq!(parsed(&longer, &policy), parsed(seed, &policy));
    }
}

#[test]
fn a_refused_request_still_has_a_line_for_the_log() {
    let mut head = Head::default();
    let bytes = b"\r\nGET /a HTTP/1.1\r\nHost : x\r\n\r\n";
    assert_eq!(
        head.parse(bytes, &Policy::default(), false),
        Err(Reject::SpaceBeforeColon)
    );
    assert_eq!(head.line.of(bytes), b"GET /a HTTP/1.1");
    let endless = vec![b'A'; 100_000];
    assert_eq!(
        head.parse(&endless, &Policy::default(), false),
        Err(Reject::LineTooLong)
    );
    assert_eq!(head.line.len(), 8190);
}

#[test]
fn parsing_again_is_worth_it_only_when_something_can_be_decided() {
    let bytes = [b'a'; 1024];
    assert!(worth_parsing(b"", 0) && worth_parsing(b"G", 0));
    assert!(!worth_parsing(b"GET / HTTP/1.1\r", 14));
    assert!(worth_parsing(b"GET / HTTP/1.1\r\n", 15));
    assert!(!worth_parsing(b"GET / HTTP/1.1\r\nH", 16));
    assert!(!worth_parsing(&bytes[..511], 1) && worth_parsing(&bytes[..512], 1));
}
