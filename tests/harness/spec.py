"""Reads the Markdown cases of `spec/`: headings, citations and fenced blocks.

It knows the form of a case and the notation of bytes (`spec/README.md`), not what a case means:
`http1_case` and `wsgi_case` know that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SPEC = Path(__file__).resolve().parents[2] / "spec"

_REPEAT = re.compile(r"\{([^{}]*)\*(\d+)\}")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


@dataclass
class Case:
    """One case: a heading with its blocks."""

    file: Path
    line: int
    title: str
    cite: str
    blocks: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for test ids and for `X-Case`: file and heading as one ASCII word."""
        words = re.sub(r"[^a-zA-Z0-9]+", "-", self.title).strip("-").lower()
        return f"{self.file.stem}/{words}"

    def request(self) -> bytes:
        """The bytes of the `request` block."""
        return decode(self.blocks["request"])


def decode(text: str) -> bytes:
    """The bytes that a block stands for: lines joined, then repeats and escapes resolved."""
    text = text.replace("\n", "")
    while repeat := _REPEAT.search(text):
        text = text[: repeat.start()] + repeat[1] * int(repeat[2]) + text[repeat.end() :]
    pieces = _ESCAPE.split(text)
    plain = (piece.encode() for piece in pieces[::2])
    escaped = (_byte(piece) for piece in pieces[1::2])
    return b"".join(a + b for a, b in zip(plain, [*escaped, b""], strict=True))


def _byte(escape: str) -> bytes:
    return bytes([int(escape[1:], 16)]) if escape[0] == "x" else _ESCAPES[escape].encode()


def read(folder: str) -> list[Case]:
    """Every case of the folder, in the order of files and headings."""
    files = sorted(path for path in (SPEC / folder).glob("*.md") if path.name != "README.md")
    cases = [case for path in files for case in _cases(path)]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases of a file have the same heading"
    return cases


def _cases(path: Path) -> Iterator[Case]:
    case: Case | None = None
    fence: list[str] | None = None
    language = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if fence is not None and line.startswith("```"):
            assert case is not None and language not in case.blocks, f"{path}:{number}"
            case.blocks[language], fence = "\n".join(fence), None
        elif fence is not None:
            fence.append(line)
        elif line.startswith("## "):
            if case is not None and case.blocks:
                yield case
            case = Case(path, number, line[3:], "")
        elif case is not None and line.startswith("```"):
            language, fence = line[3:].strip(), []
        elif case is not None and line.strip() and not case.cite:
            case.cite = line
    if case is not None and case.blocks:
        yield case
