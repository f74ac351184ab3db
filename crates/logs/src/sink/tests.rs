//! How a sink deals with pipes: slow ones, stuck ones, closed ones.

use std::io::Read as _;
use std::thread;

use rustix::pipe::{PipeFlags, pipe_with};

use super::put::PIPE_WRITE;
use super::*;

/// A sink into a pipe, and the pipe's other end.
fn pipe(flags: PipeFlags) -> (Arc<Sink>, std::fs::File) {
    let (reader, writer) = pipe_with(flags | PipeFlags::CLOEXEC).unwrap();
    (Sink::from_fd(writer, "a pipe"), reader.into())
}

/// As [`pipe`], given up at once when it is full.
fn impatient_pipe() -> (Sink, std::fs::File) {
    let (sink, reader) = pipe(PipeFlags::empty());
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let mut sink = Arc::into_inner(sink).unwrap();
    sink.patience = Duration::ZERO;
    (sink, reader)
}

/// Reads what is there without waiting for more.
fn drain(reader: &mut std::fs::File) -> Vec<u8> {
    let mut all = Vec::new();
    let error = reader.read_to_end(&mut all).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    all
}

fn numbered_lines(count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|number| format!("line number {number:06}\n").into_bytes())
        .collect()
}

#[test]
fn a_full_pipe_is_waited_for() {
    let (sink, mut reader) = pipe(PipeFlags::empty());
    let mut sink = Arc::into_inner(sink).unwrap();
    sink.patience = Duration::from_secs(60);
    let lines = numbered_lines(50_000);
    let expected = lines.clone();
    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map(|_| all)
    });
    assert!(matches!(sink.write_all(&lines), Delivery::Written));
    drop(sink);
    assert!(reading.join().unwrap().unwrap() == expected);
}

#[test]
fn a_stuck_pipe_costs_its_lines_and_never_the_server() {
    let (sink, mut reader) = impatient_pipe();
    let Delivery::Failed(cause) = sink.write_all(&numbered_lines(10_000)) else {
        panic!("not refused")
    };
    assert_eq!(cause.kind(), io::ErrorKind::WouldBlock);
    let lost = sink.lost();
    assert!(matches!(
        sink.write_all(b"more\nand more\n"),
        Delivery::Lost
    ));
    assert_eq!(sink.lost(), lost + 2);
    let taken = String::from_utf8(drain(&mut reader))
        .unwrap()
        .matches('\n')
        .count() as u64;
    assert!(taken > 0);
    assert_eq!(taken + lost, 10_000);
}

#[test]
fn the_patience_with_a_stuck_pipe_is_spent_once() {
    let (mut sink, _reader) = impatient_pipe();
    sink.patience = Duration::from_millis(50);
    let start = Instant::now();
    assert!(matches!(
        sink.write_all(&numbered_lines(10_000)),
        Delivery::Failed(_)
    ));
    assert!(start.elapsed() >= sink.patience);
    sink.patience = Duration::from_secs(10);
    assert!(matches!(sink.write_all(b"at once\n"), Delivery::Lost));
    assert!(start.elapsed() < sink.patience);
}

#[test]
fn after_a_cut_line_the_next_one_begins_a_line() {
    let (sink, mut reader) = impatient_pipe();
    assert!(matches!(
        sink.write_all("x".repeat(100_000).as_bytes()),
        Delivery::Failed(_)
    ));
    let cut = drain(&mut reader);
    assert!(!cut.is_empty() && cut.iter().all(|&byte| byte == b'x'));
    let Delivery::Recovered { lost, .. } = sink.write_all(b"next\n") else {
        panic!("still lost")
    };
    assert_eq!(lost, 1);
    assert_eq!(drain(&mut reader), b"\nnext\n");
    assert!(matches!(sink.write_all(b"after\n"), Delivery::Written));
    assert_eq!(drain(&mut reader), b"after\n");
}

#[test]
fn a_closed_pipe_loses_lines_and_nothing_else() {
    let (sink, reader) = pipe(PipeFlags::empty());
    drop(reader);
    let Delivery::Failed(cause) = sink.write_all(b"one\ntwo\n") else {
        panic!("not refused")
    };
    assert_eq!(cause.kind(), io::ErrorKind::BrokenPipe);
    assert!(matches!(sink.write_lines(b"three\n"), Delivery::Lost));
    assert_eq!(sink.lost(), 3);
}

#[test]
fn a_named_pipe_needs_no_reader_and_keeps_what_came_before_it() {
    let folder = std::env::temp_dir().join(format!("oxicorn-sink-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let sink = Sink::open(&path).unwrap();
    assert!(matches!(sink.write_lines(b"early\n"), Delivery::Written));
    let mut reader = std::fs::File::open(&path).unwrap();
    assert!(matches!(sink.write_lines(b"late\n"), Delivery::Written));
    let mut found = [0; 11];
    reader.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"early\nlate\n");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A pipe in packet mode shows where each write ended.
#[cfg(target_os = "linux")]
#[test]
fn writes_to_a_pipe_end_with_a_line_and_stay_in_one_piece() {
    let (sink, mut reader) = pipe(PipeFlags::DIRECT);
    let lines = numbered_lines(1000);
    assert!(matches!(sink.write_lines(&lines), Delivery::Written));
    drop(sink);
    let (mut all, mut packet) = (Vec::new(), [0; 8192]);
    loop {
        let length = reader.read(&mut packet).unwrap();
        if length == 0 {
            break;
        }
        assert!(length <= PIPE_WRITE && packet[length - 1] == b'\n');
        all.extend_from_slice(&packet[..length]);
    }
    assert!(all == lines);
}

#[test]
fn a_piece_is_as_many_whole_lines_as_fit_and_at_least_one() {
    let cases: [(&[u8], usize, usize); 6] = [
        (b"a\nb\n", 4, 4),
        (b"a\nb\n", 3, 2),
        (b"aaaa\nb\n", 3, 5),
        (b"aaaa", 3, 4),
        (b"a\nb\nc\n", 5, 4),
        (b"\n\n\n", 1, 1),
    ];
    for (lines, limit, expected) in cases {
        assert_eq!(piece_of(lines, limit), expected, "{lines:?} in {limit}");
    }
}

#[test]
fn a_last_line_without_its_end_is_a_line() {
    let cases: [(&[u8], u64); 5] = [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"\n\n", 2)];
    for (bytes, expected) in cases {
        assert_eq!(lines_in(bytes), expected, "{bytes:?}");
    }
}
