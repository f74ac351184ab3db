"""What a run has found: one cell for each server and scenario, filled round by round.

A cell is never empty without a reason: a server that cannot take part, fails or does not do
what it should stays in the result under that name.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from scenarios import Scenario
from trials import Sample

CEILING = "ceiling"
MEASURED, SKIPPED, FAILED, UNRANKED = "measured", "skipped", "failed", "unranked"


@dataclass
class Cell:
    """One server in one scenario."""

    outcome: str = MEASURED
    reason: str = ""
    remarks: list[str] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Take the sample of one more round."""
        self.samples.append(sample.values)
        self.remarks += [text for text in sample.remarks if text not in self.remarks]
        if sample.unranked:
            self.outcome, self.reason = UNRANKED, sample.unranked

    def fail(self, reason: str) -> None:
        """A round failed: the server is not ranked, whatever the other rounds gave."""
        self.outcome, self.reason = FAILED, reason

    def median(self, key: str) -> float | None:
        """The median over the rounds; None if it was not measured."""
        values = [sample[key] for sample in self.samples if key in sample]
        return statistics.median(values) if values else None

    def spread(self, key: str) -> float:
        """How far apart the rounds are: (largest − smallest) / median; 0 for a single round."""
        values = [sample[key] for sample in self.samples if key in sample]
        middle = self.median(key)
        return (max(values) - min(values)) / middle if middle else 0.0

    def plain(self) -> dict[str, Any]:
        """The cell as JSON data, medians beside the samples."""
        keys = self.samples[0] if self.samples else {}
        return {**asdict(self), "median": {key: self.median(key) for key in keys}}


@dataclass
class Results:
    """All cells, in the order of the plan."""

    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)

    def cell(self, scenario: Scenario, server: str) -> Cell:
        """The cell of a server in a scenario, made on first use."""
        return self.cells.setdefault(scenario.name, {}).setdefault(server, Cell())

    def value(self, scenario: str, server: str, key: str) -> float | None:
        """A ranked median; None where the server was not measured, failed or is not ranked."""
        cell = self.cells.get(scenario, {}).get(server)
        if cell is None or cell.outcome != MEASURED:
            return None
        return cell.median(key)

    def ratios(self, scenario: str, ours: str, theirs: str, key: str) -> list[float]:
        """A number of one server to that of another, round by round."""
        cells = self.cells[scenario]
        pairs = zip(cells[ours].samples, cells[theirs].samples, strict=True)
        return [one[key] / other[key] for one, other in pairs]

    def best(self, scenario: str, key: str) -> float | None:
        """The least ranked median of a real server: the ceiling runs no application."""
        found = [
            value
            for name in self.cells.get(scenario, {})
            if name != CEILING and (value := self.value(scenario, name, key)) is not None
        ]
        return min(found, default=None)

    def ranked(self, scenario: Scenario) -> list[tuple[str, float]]:
        """Servers by the scenario's first measure, best first."""
        key = scenario.measures[0].key
        found = [
            (name, value)
            for name in self.cells.get(scenario.name, {})
            if (value := self.value(scenario.name, name, key)) is not None
        ]
        return sorted(found, key=lambda pair: pair[1])

    def plain(self) -> dict[str, Any]:
        """Everything as JSON data."""
        return {
            scenario: {server: cell.plain() for server, cell in servers.items()}
            for scenario, servers in self.cells.items()
        }
