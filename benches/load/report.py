"""Renders the results of a run: JSON with every sample, and a Markdown page of medians.

Host names and paths of the machine are kept out of both.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from results import FAILED, MEASURED, UNRANKED, Cell, Results
from scenarios import CPU, Measure, Scenario
from servers import BENCHES
from targets import verdicts

NOISE_WORTH_A_WARNING = 0.05


@dataclass(frozen=True)
class Circumstances:
    """Where and how a run was made."""

    machine: dict[str, str]
    versions: dict[str, str]
    options: dict[str, str]


def describe_machine() -> dict[str, str]:
    """Processor, kernel and load of this machine, without its name."""
    cpu = "unknown"
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return {
        "processor": cpu,
        "processors": str(os.cpu_count()),
        "memory": f"{memory_mib} MiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


def scrub(text: str) -> str:
    """Replace the paths of this machine."""
    for path, name in ((str(BENCHES.parent), "."), (str(Path.home()), "~")):
        text = text.replace(path, name)
    return text


def write(name: str, plan: Sequence[Scenario], results: Results, where: Circumstances) -> Path:
    """Write NAME.json and NAME.md; returns the Markdown page."""
    folder = BENCHES / "results"
    folder.mkdir(exist_ok=True)
    data: dict[str, Any] = {
        **asdict(where),
        "scenarios": results.plain(),
        "targets": [asdict(verdict) for verdict in verdicts(results)],
    }
    json_text = json.dumps(data, indent=1, ensure_ascii=False)
    (folder / f"{name}.json").write_text(json_text + "\n")
    page = folder / f"{name}.md"
    page.write_text(render(name, plan, results, where))
    return page


def render(name: str, plan: Sequence[Scenario], results: Results, where: Circumstances) -> str:
    """The Markdown page."""
    parts = [f"# Load comparison: {name}", _circumstances(where), _noise(results)]
    parts.append("## CPU µs per request\n\n" + _summary(plan, results))
    parts.append("## Targets\n\n" + _targets(results))
    parts += [_section(scenario, results) for scenario in plan]
    return "\n\n".join(part for part in parts if part) + "\n"


def _circumstances(where: Circumstances) -> str:
    groups = (where.machine, where.options, where.versions)
    return "\n".join(
        "- " + ", ".join(f"{key}: {value}" for key, value in group.items()) for group in groups
    )


def _noise(results: Results) -> str:
    """A warning if strangers used the machine meanwhile."""
    shares = [
        sample["foreign_share"]
        for servers in results.cells.values()
        for cell in servers.values()
        for sample in cell.samples
        if "foreign_share" in sample
    ]
    if not shares or max(shares) < NOISE_WORTH_A_WARNING:
        return ""
    middle = sorted(shares)[len(shares) // 2]
    return (
        f"**Not a quiet machine**: other processes used {middle:.0%} of it in the median trial and "
        f"{max(shares):.0%} in the worst. Rates and latencies are provisional; CPU per request "
        "suffers less."
    )


def _table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    names = list(header)
    rule = ["---", *["--:"] * (len(names) - 1)]
    lines = [names, rule, *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _summary(plan: Sequence[Scenario], results: Results) -> str:
    """One row a server, one column a scenario that has a CPU cost; the best in bold."""
    columns = [scenario for scenario in plan if CPU in scenario.measures]
    servers = list(dict.fromkeys(name for cells in results.cells.values() for name in cells))
    best = {scenario.name: results.best(scenario.name, CPU.key) for scenario in columns}
    rows = [
        [server, *(_summary_cell(results, scenario.name, server, best) for scenario in columns)]
        for server in servers
    ]
    return _table(["server", *(scenario.name for scenario in columns)], rows)


def _summary_cell(
    results: Results, scenario: str, server: str, best: dict[str, float | None]
) -> str:
    value = results.value(scenario, server, CPU.key)
    if value is not None:
        return f"**{value:.1f}**" if value == best[scenario] else f"{value:.1f}"
    cell = results.cells.get(scenario, {}).get(server)
    if cell is None:
        return ""
    if cell.outcome == UNRANKED:
        return f"({cell.median(CPU.key) or 0:.1f})"
    return "failed" if cell.outcome == FAILED else "–"


def _targets(results: Results) -> str:
    rows = [[verdict.promise, verdict.outcome, verdict.figures] for verdict in verdicts(results)]
    return _table(["target", "outcome", "figures"], rows)


def _section(scenario: Scenario, results: Results) -> str:
    cells = results.cells.get(scenario.name, {})
    ranked = results.ranked(scenario)
    best = results.best(scenario.name, scenario.measures[0].key)
    ordered = [name for name, _ in ranked]
    ordered += [name for name, cell in cells.items() if cell.outcome == UNRANKED]
    rows = [_row(name, cells[name], scenario.measures, best) for name in ordered]
    header = ["server", *(measure.title for measure in scenario.measures)]
    text = f"## {scenario.name}\n\n{scenario.about} ({scenario.way.value}).\n\n"
    if rows:
        text += _table([*header, "to the best", "spread", "remarks"], rows)
    absent = [_absence(name, cell) for name, cell in cells.items() if name not in ordered]
    return text + ("\n\n" if rows and absent else "") + "\n".join(absent)


def _row(name: str, cell: Cell, measures: Sequence[Measure], best: float | None) -> list[str]:
    values = [cell.median(measure.key) for measure in measures]
    shown = [
        "" if value is None else f"{value:,.{measure.digits}f}"
        for value, measure in zip(values, measures, strict=True)
    ]
    first = values[0]
    ratio = f"{first / best:.2f} ×" if first is not None and best else ""
    remarks = list(cell.remarks)
    if cell.outcome == UNRANKED:
        ratio = ""
        remarks.insert(0, f"{cell.reason}; not ranked")
    return [name, *shown, ratio, f"{cell.spread(measures[0].key):.0%}", "; ".join(remarks)]


def _absence(name: str, cell: Cell) -> str:
    """A line for a server that has no row."""
    reason = cell.reason.splitlines()
    first = reason[0] if reason else "no reason recorded"
    return f"- {name}: {cell.outcome}: {first}" if cell.outcome != MEASURED else f"- {name}"
