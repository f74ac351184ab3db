//! Runs the probe and waits for what it says, with a deadline and the whole log on failure.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const PATIENCE: Duration = Duration::from_secs(20);

/// A probe under way. Killed when dropped, its workers then end by themselves.
pub(crate) struct Server {
    probe: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut probe = Command::new(env!("CARGO_BIN_EXE_arbiter-probe"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the probe starts");
        let output = probe.stdout.take().expect("its output is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines
                .map(|line| sender.send(line))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
        Self {
            probe,
            lines,
            log: Vec::new(),
        }
    }

    /// A server on a free port of the loopback interface; its workers are ready, and serve.
    pub(crate) fn ready(workers: u32, arguments: &[&str]) -> Self {
        let workers_argument = format!("workers={workers}");
        let mut all = vec!["bind=127.0.0.1:0", &workers_argument];
        all.extend(arguments);
        let mut server = Self::start(&all);
        for id in 1..=u64::from(workers) {
            server.expect(&format!("worker {id} ready"));
            let pid = server.worker(id);
            server.expect(&format!("Worker (pid:{pid}) is ready."));
            server.expect(&format!("worker {id} is told Serve"));
        }
        server
    }

    /// Waits for a line that contains `text`. The lines of several processes come in any order, so
    /// it may have come before.
    pub(crate) fn expect(&mut self, text: &str) -> String {
        self.expect_nth(1, text)
    }

    /// The same for the `n`-th such line, counted from 1.
    pub(crate) fn expect_nth(&mut self, n: usize, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut found = self.log.iter().filter(|line| line.contains(text));
            if let Some(line) = found.nth(n - 1) {
                return line.clone();
            }
            self.read_line(deadline, text);
        }
    }

    /// Waits until so many lines contain `text`.
    pub(crate) fn expect_times(&mut self, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(text) < times {
            self.read_line(deadline, text);
        }
    }

    fn read_line(&mut self, deadline: Instant, text: &str) {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => self.log.push(line),
            Err(error) => panic!("{text:?} did not come ({error}):\n{}", self.told()),
        }
    }

    /// Waits for the end of the probe and of every worker; the answer is the probe's exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        // The pipe ends when the last process that holds it has ended.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", self.told()),
            }
        }
        self.probe.wait().expect("the probe is our child").code()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.probe.id()).expect("a pid")
    }

    /// The process of a worker.
    pub(crate) fn worker(&mut self, id: u64) -> i32 {
        let line = self.expect(&format!("forked {id} "));
        line.rsplit(' ')
            .next()
            .and_then(|pid| pid.parse().ok())
            .expect("forked ID PID")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Signals the arbiter and every worker, as a terminal does.
    pub(crate) fn signal_group(&self, signal: Signal) {
        let group = Pid::from_raw(self.pid()).expect("not zero");
        kill_process_group(group, signal).expect("it is alive");
    }

    /// The address that it listens on, from the log: `http://127.0.0.1:40001`.
    pub(crate) fn url(&mut self) -> String {
        let line = self.expect("Listening at: ");
        line.split(' ')
            .find(|word| word.contains(':') && *word != "at:")
            .expect("a URL")
            .to_owned()
    }

    /// What a worker answers to a new connection: `worker 1`.
    pub(crate) fn connect(&mut self) -> String {
        let url = self.url();
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.trim().to_owned()
    }

    /// Whoever of the two crowded workers answers first shares with the other one, and both serve on.
    pub(crate) fn expect_a_share(&mut self) {
        let crowded = self.connect();
        let giver = crowded.trim_start_matches("worker ");
        let taker = if giver == "1" { 2 } else { 1 };
        self.expect(&format!("worker {taker} takes the share of {giver}"));
        self.expect(&format!("worker {giver} is told Share"));
        assert!(self.connect().starts_with("worker "));
    }

    /// Waits until the arbiter does not run at all during a whole `window`. It may still be busy at first, and what it
    /// said before may not have been read yet.
    pub(crate) fn falls_asleep_for(&mut self, window: Duration) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.wake_ups();
            let quiet_until = Instant::now() + window;
            while let Ok(line) = self.lines.recv_timeout(quiet_until - Instant::now()) {
                self.log.push(line);
            }
            if self.wake_ups() == before {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "it does not sleep:\n{}",
                self.told()
            );
        }
    }

    fn wake_ups(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("it is alive");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse().ok())
            .expect("a number")
    }

    /// How many lines contain `text`, of those read so far.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.log.iter().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.count(text) > 0
    }

    fn told(&self) -> String {
        self.log.iter().fold(String::new(), |mut told, line| {
            let _ = writeln!(told, "  {line}");
            told
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.probe.kill();
        let _ = self.probe.wait();
    }
}

pub(crate) fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("not zero");
    kill_process(pid, signal).expect("it is alive");
}

/// The children of `pid` that have ended and were not reaped.
pub(crate) fn zombies_of(pid: i32) -> usize {
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let stats =
        processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| is_zombie_of(stat, pid)).count()
}

/// `pid (name) state ppid …` (`proc_pid_stat(5)`); the name may hold anything.
fn is_zombie_of(stat: &str, parent: i32) -> bool {
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = fields.split_whitespace();
    fields.next() == Some("Z") && fields.next() == Some(&parent.to_string())
}
