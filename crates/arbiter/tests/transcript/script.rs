//! The format of the transcripts: Markdown with one block per claim.

use std::time::Duration;

use oxicorn_arbiter::core::{Cue, OrphanId, Room, Standing, StuckRequest, Tally};
use oxicorn_arbiter::{Exit, Policy, Signal, WorkerId};
use oxicorn_settings::RestartMode;

/// One claim and the steps that prove it.
pub(crate) struct Transcript {
    pub(crate) claim: String,
    pub(crate) policy: Policy,
    /// Whether what a service manager is told is among the actions.
    pub(crate) service_manager: bool,
    pub(crate) steps: Vec<(usize, Step)>,
}

/// One line after the `given` lines.
pub(crate) enum Step {
    At(Duration),
    When(Happening),
    Then(Vec<String>),
    Logged { level: String, text: String },
    Status(String),
    Wake(Option<Duration>),
    Counted(Tally),
}

pub(crate) enum Happening {
    Start,
    ForksFail(bool),
    Signal(Signal),
    Restart(Option<RestartMode>, Option<u64>),
    Scale(usize),
    /// An upgrade goes on.
    Upgrade(UpgradeStep),
    /// From now on the configuration is refused for this reason, or read.
    Refuse(Option<String>),
    /// From now on the configuration says this.
    Configure(String, String),
    /// Something happens between two arbiters.
    Cue(Cue),
    /// A worker of an arbiter that is gone says hello, or its link ends.
    OrphanFound(OrphanId),
    OrphanGone(OrphanId),
    /// From now on this memory is measured.
    Measure(Room),
    Unready(WorkerId, String),
    /// With 600 MiB, and a limit of 512 MiB.
    Outgrown(WorkerId),
    Gave(WorkerId),
    Stranded(WorkerId),
    Saturated(WorkerId, u32),
    /// Who, how many wait, and what the others have to do.
    Crowded(WorkerId, u32, Vec<(WorkerId, u32)>),
    Relieved(WorkerId),
    Ready(WorkerId),
    /// The order is answered.
    Forked(WorkerId),
    NotForked(WorkerId),
    /// From now on forks are refused by a hook, or not.
    ForksRefused(bool),
    /// A hook fails.
    HookRaised(u8),
    /// From now on orders are answered at once, or not.
    OrdersWait(bool),
    StemReady(u32),
    StemUnready(u32, String),
    Retiring(WorkerId),
    Draining(WorkerId),
    Stuck(WorkerId, StuckRequest),
    Ends(Who, Exit, Option<bool>),
}

pub(crate) enum UpgradeStep {
    /// Somebody asks for it.
    Asked(Option<u64>),
    Checked(String),
    Failed(String),
    Done,
}

pub(crate) enum Who {
    Worker(WorkerId),
    Stem(u32),
    Pid(i32),
}

/// Every transcript of a page, or what is wrong with the page.
pub(crate) fn transcripts(page: &str) -> Result<Vec<Transcript>, String> {
    let mut claim = None;
    let mut open: Option<Transcript> = None;
    let mut found = Vec::new();
    for (index, line) in page.lines().enumerate() {
        let at_line = |error: String| format!("line {}: {error}", index + 1);
        match (line, open.as_mut()) {
            ("```transcript", None) => open = Some(begin(claim.take()).map_err(at_line)?),
            ("```", Some(_)) => found.extend(open.take()),
            (line, Some(transcript)) => read(transcript, index + 1, line).map_err(at_line)?,
            (line, None) => claim = heading(line).or(claim),
        }
    }
    if open.is_some() || found.is_empty() {
        return Err("a block is not closed, or there is none".to_owned());
    }
    Ok(found)
}

fn heading(line: &str) -> Option<String> {
    line.strip_prefix("## ").map(str::to_owned)
}

fn begin(claim: Option<String>) -> Result<Transcript, String> {
    let claim = claim.ok_or("a block without a heading of its own")?;
    Ok(Transcript {
        claim,
        policy: Policy::default(),
        service_manager: false,
        steps: Vec::new(),
    })
}

fn read(transcript: &mut Transcript, number: usize, line: &str) -> Result<(), String> {
    let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let step = match word {
        "" => return Ok(()),
        "given" if rest == "a service manager" => {
            transcript.service_manager = true;
            return Ok(());
        }
        "given" if transcript.steps.is_empty() => {
            let (name, value) = rest.split_once(" = ").ok_or("given what?")?;
            return given(&mut transcript.policy, name, value);
        }
        "at" => Step::At(time(rest)?),
        "when" => Step::When(happening(rest)?),
        "then" => expectation(rest)?,
        _ => return Err(format!("cannot read {line:?}")),
    };
    transcript.steps.push((number, step));
    Ok(())
}

pub(crate) fn given(policy: &mut Policy, name: &str, value: &str) -> Result<(), String> {
    match (name, value) {
        ("workers", value) => policy.workers = number(value)?,
        ("graceful_timeout", value) => policy.graceful_timeout = time(value)?,
        ("boot_timeout", value) => policy.boot_timeout = Some(time(value)?),
        ("shutdown_delay", value) => policy.shutdown_delay = time(value)?,
        ("daemon", "true") => policy.daemon = true,
        ("preload", value) => policy.preload = value == "true",
        ("observe_timeout", value) => policy.observe_timeout = time(value)?,
        ("restart_mode", value) => {
            policy.restart_mode = mode(value).ok_or("hot, phased or regular")?;
        }
        _ => return Err(format!("unknown: given {name} = {value}")),
    }
    Ok(())
}

fn happening(text: &str) -> Result<Happening, String> {
    let fixed = match text {
        "start" => Some(Happening::Start),
        "forks fail" => Some(Happening::ForksFail(true)),
        "forks work" => Some(Happening::ForksFail(false)),
        "hooks refuse forks" => Some(Happening::ForksRefused(true)),
        "hooks allow forks" => Some(Happening::ForksRefused(false)),
        "orders wait" => Some(Happening::OrdersWait(true)),
        "orders are answered" => Some(Happening::OrdersWait(false)),
        "configuration is good" => Some(Happening::Refuse(None)),
        "restart" => Some(Happening::Restart(None, None)),
        _ => signal(text)
            .map(Happening::Signal)
            .or_else(|| cue(text).map(Happening::Cue)),
    };
    let found = fixed.or_else(|| of_the_configuration(text));
    match found.or_else(|| of_an_upgrade(text)) {
        Some(happening) => Ok(happening),
        None if text.starts_with("a hook fails with ") => {
            number(text.trim_start_matches("a hook fails with ")).map(Happening::HookRaised)
        }
        None if text.starts_with("client ") => of_a_client(text),
        None if text.starts_with("orphan ") => of_an_orphan(text),
        None if text.contains(" MiB are free, and ") => room(text),
        None => of_a_process(text),
    }
}

/// Something between two arbiters.
fn cue(text: &str) -> Option<Cue> {
    let said = match text {
        "born" => return Some(Cue::Born { linked: true }),
        "born without a link" => return Some(Cue::Born { linked: false }),
        "the elder is gone" => return Some(Cue::ElderGone),
        "the link is lost" => return Some(Cue::LinkLost),
        "the other is able" => Standing::Able,
        "the other is away" => Standing::Away,
        "the other is leaving" => Standing::Leaving,
        _ => {
            let offer = text.strip_prefix("the other makes offer ")?.parse().ok()?;
            return Some(Cue::Offered { offer });
        }
    };
    Some(Cue::Said(said))
}

/// `upgrade`, `upgrade passes its check as VERSION`, `upgrade fails: REASON`, `upgraded`.
fn of_an_upgrade(text: &str) -> Option<Happening> {
    let step = match text {
        "upgrade" => UpgradeStep::Asked(None),
        "upgraded" => UpgradeStep::Done,
        _ => {
            let text = text.strip_prefix("upgrade ")?;
            let version = text.strip_prefix("passes its check as ");
            match (version, text.strip_prefix("fails: ")) {
                (Some(version), _) => UpgradeStep::Checked(version.to_owned()),
                (None, reason) => UpgradeStep::Failed(reason?.to_owned()),
            }
        }
    };
    Some(Happening::Upgrade(step))
}

/// `orphan 1 says hello`, `orphan 1 is gone`.
fn of_an_orphan(text: &str) -> Result<Happening, String> {
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["orphan", orphan, "says", "hello"] => Ok(Happening::OrphanFound(number(orphan)?)),
        ["orphan", orphan, "is", "gone"] => Ok(Happening::OrphanGone(number(orphan)?)),
        _ => Err(format!("cannot read {text:?}")),
    }
}

/// `300 MiB are free, and 2 workers use 300 MiB`.
fn room(text: &str) -> Result<Happening, String> {
    let words: Vec<&str> = text.split(' ').collect();
    let [free, _, _, _, _, workers, _, _, used, _] = words[..] else {
        return Err(format!("cannot read {text:?}"));
    };
    let mebibytes = |text: &str| number::<u64>(text).map(|mebibytes| mebibytes << 20);
    Ok(Happening::Measure(Room {
        available: mebibytes(free)?,
        used: mebibytes(used)?,
        workers: number(workers)?,
    }))
}

/// `client 1 asks for restart [MODE]`, `client 1 asks for upgrade`, `client 1 asks for 3 workers`.
fn of_a_client(text: &str) -> Result<Happening, String> {
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["client", asker, "asks", "for", "restart"] => {
            Ok(Happening::Restart(None, Some(number(asker)?)))
        }
        ["client", asker, "asks", "for", "upgrade"] => {
            let asker = Some(number(asker)?);
            Ok(Happening::Upgrade(UpgradeStep::Asked(asker)))
        }
        ["client", asker, "asks", "for", "restart", how] => {
            let how = mode(how).ok_or("hot, phased or regular")?;
            Ok(Happening::Restart(Some(how), Some(number(asker)?)))
        }
        ["client", _, "asks", "for", count, "workers"] => Ok(Happening::Scale(number(count)?)),
        _ => Err(format!("cannot read {text:?}")),
    }
}

fn of_the_configuration(text: &str) -> Option<Happening> {
    if let Some(how) = text.strip_prefix("restart ") {
        return Some(Happening::Restart(Some(mode(how)?), None));
    }
    let text = text.strip_prefix("configuration ")?;
    if let Some(reason) = text.strip_prefix("is refused: ") {
        return Some(Happening::Refuse(Some(reason.to_owned())));
    }
    let (name, value) = text.strip_prefix("says ")?.split_once(" = ")?;
    Some(Happening::Configure(name.to_owned(), value.to_owned()))
}

fn mode(text: &str) -> Option<RestartMode> {
    match text {
        "hot" => Some(RestartMode::Hot),
        "phased" => Some(RestartMode::Phased),
        "regular" => Some(RestartMode::Regular),
        _ => None,
    }
}

fn of_a_process(text: &str) -> Result<Happening, String> {
    let (subject, text) = match text.split_once(' ') {
        Some((subject @ ("pid" | "stem"), text)) => (subject, text),
        _ => ("worker", text),
    };
    let (id, did) = text
        .split_once(' ')
        .ok_or_else(|| format!("what happens in {text:?}?"))?;
    let who = match subject {
        "pid" => Who::Pid(number(id)?),
        "stem" => Who::Stem(number(id)?),
        _ => Who::Worker(number(id)?),
    };
    if let Some(end) = end_of(did)? {
        return Ok(Happening::Ends(who, end.0, end.1));
    }
    let worker = match who {
        Who::Worker(worker) => worker,
        Who::Stem(generation) if did == "ready" => return Ok(Happening::StemReady(generation)),
        Who::Stem(generation) => {
            let reason = did
                .strip_prefix("unready: ")
                .ok_or("ready, or unready: TEXT")?;
            return Ok(Happening::StemUnready(generation, reason.to_owned()));
        }
        Who::Pid(_) => return Err(format!("it does not report: {text:?}")),
    };
    match did {
        "is forked" => Ok(Happening::Forked(worker)),
        "is not forked" => Ok(Happening::NotForked(worker)),
        "ready" => Ok(Happening::Ready(worker)),
        "outgrown" => Ok(Happening::Outgrown(worker)),
        "retiring" => Ok(Happening::Retiring(worker)),
        "gave" => Ok(Happening::Gave(worker)),
        "is stranded" => Ok(Happening::Stranded(worker)),
        "saturated" => Ok(Happening::Saturated(worker, 20)),
        "saturated alone" => Ok(Happening::Saturated(worker, 0)),
        "relieved" => Ok(Happening::Relieved(worker)),
        "draining" => Ok(Happening::Draining(worker)),
        _ if did.starts_with("crowded by ") => crowded(worker, did),
        _ => match did.strip_prefix("unready: ") {
            Some(reason) => Ok(Happening::Unready(worker, reason.replace("\\n", "\n"))),
            None => Ok(Happening::Stuck(worker, stuck_on(did)?)),
        },
    }
}

/// `crowded by 39`, `crowded by 39 beside 2 at rest, 3 with 4`.
fn crowded(worker: WorkerId, did: &str) -> Result<Happening, String> {
    let figures = did.strip_prefix("crowded by ").unwrap_or_default();
    let (waiting, others) = figures.split_once(" beside ").unwrap_or((figures, ""));
    let one = |text: &str| match text.split_once(' ') {
        Some((id, "at rest")) => Ok((number(id)?, 0)),
        Some((id, rest)) => {
            let load = rest
                .strip_prefix("with ")
                .ok_or("at rest, or with NUMBER")?;
            Ok((number(id)?, number(load)?))
        }
        None => Err(format!("beside whom? {text:?}")),
    };
    let others = others.split(", ").filter(|text| !text.is_empty());
    let beside = others.map(one).collect::<Result<_, String>>()?;
    Ok(Happening::Crowded(worker, number(waiting)?, beside))
}

type End = (Exit, Option<bool>);

/// `exits CODE` or `dies of SIGNAL[, core dumped][, out of memory|, not out of memory]`.
fn end_of(did: &str) -> Result<Option<End>, String> {
    if let Some(code) = did.strip_prefix("exits ") {
        return Ok(Some((Exit::Code(number(code)?), None)));
    }
    let Some(cause) = did.strip_prefix("dies of ") else {
        return Ok(None);
    };
    let mut parts = cause.split(", ");
    let name = parts.next().unwrap_or_default();
    let number = (1..65).find(|n| oxicorn_arbiter::core::signal_name(*n) == name);
    let number = number.ok_or_else(|| format!("no signal {name:?}"))?;
    let (mut core, mut oom) = (false, None);
    for part in parts {
        match part {
            "core dumped" => core = true,
            "out of memory" => oom = Some(true),
            "not out of memory" => oom = Some(false),
            _ => return Err(format!("unknown: {part:?}")),
        }
    }
    Ok(Some((Exit::Signal { number, core }, oom)))
}

/// `stuck on "LINE" from "CLIENT" for TIME`.
fn stuck_on(did: &str) -> Result<StuckRequest, String> {
    let parts: Vec<&str> = did.split('"').collect();
    match parts[..] {
        ["stuck on ", line, " from ", client, age] => Ok(StuckRequest {
            line: line.replace("\\n", "\n"),
            client: client.to_owned(),
            age: time(age.strip_prefix(" for ").ok_or("stuck for how long?")?)?,
        }),
        _ => Err(format!("cannot read {did:?}")),
    }
}

fn expectation(text: &str) -> Result<Step, String> {
    if let Some(rest) = text.strip_prefix("log ") {
        let (level, text) = rest.split_once(' ').ok_or("log LEVEL \"TEXT\"")?;
        let quoted = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        let text = quoted
            .ok_or("the text of a log line is in quotes")?
            .to_owned();
        return Ok(Step::Logged {
            level: level.to_owned(),
            text,
        });
    }
    let status = text.strip_prefix("status \"");
    if let Some(status) = status.and_then(|text| text.strip_suffix('"')) {
        return Ok(Step::Status(status.to_owned()));
    }
    if let Some(when) = text.strip_prefix("wake at ") {
        return Ok(Step::Wake(Some(time(when)?)));
    }
    if let Some(counted) = text.strip_prefix("counted ") {
        return tally(counted).map(Step::Counted);
    }
    match text {
        "never wake" => Ok(Step::Wake(None)),
        "nothing" => Ok(Step::Then(Vec::new())),
        _ => Ok(Step::Then(text.split(", ").map(str::to_owned).collect())),
    }
}

fn tally(text: &str) -> Result<Tally, String> {
    let words: Vec<&str> = text.split([' ', ',']).collect();
    match words[..] {
        [
            spawned,
            "spawned",
            "",
            killed,
            "killed",
            "",
            restarts,
            "restarts",
        ] => Ok(Tally {
            spawned: number(spawned)?,
            killed: number(killed)?,
            restarts: number(restarts)?,
        }),
        _ => Err("N spawned, N killed, N restarts".to_owned()),
    }
}

fn signal(name: &str) -> Option<Signal> {
    Signal::HANDLED
        .into_iter()
        .find(|signal| signal.lower_name().to_uppercase() == name)
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds: f64 = number(text.strip_suffix(" s").ok_or("a time ends in ' s'")?)?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text:?}"))
}
