"""Every message that the troubleshooting pages quote is one that the code writes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = "".join(path.read_text() for path in (ROOT / "docs").glob("troubleshooting*.md"))
FEWEST_LETTERS = 10
"""Of a piece of a message that counts: shorter ones stand anywhere."""
SHARE = 0.5
"""Of a message's letters, what must come from the code; the rest are names, numbers and paths."""


def quoted() -> list[str]:
    """The lines of the blocks of messages, and the messages of the table of answers."""
    blocks = re.findall(r"(?s)```text\n(.*?)```", PAGES)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return lines + re.findall(r"(?m)^\| \d{3} \| `([^`]*)`", PAGES)


@cache
def patterns() -> list[re.Pattern[str]]:
    """What the code can write, as patterns whose groups are the parts that stand in it."""
    files = [
        path
        for package in ("handler/torchserve_fire", "directions/torchserve_fire_build")
        for path in (ROOT / package).rglob("*.py")
    ]
    texts = {parts for path in files for parts in texts_of(ast.parse(path.read_text()))}
    return [pattern_of(parts) for parts in texts]


def texts_of(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """The constant parts of each text in a module, between which something is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "\0" for v in node.values]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = [node.value]
        else:
            continue
        pieces = tuple(re.split(r"\0|%[sdgr]|\n", "".join(map(str, parts))))
        if max(map(letters, pieces)) >= FEWEST_LETTERS:
            yield pieces


def pattern_of(pieces: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(".*?".join(f"({re.escape(piece)})" for piece in pieces))


def letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def from_the_code(line: str) -> float:
    """The share of a line's letters that stand in texts of the code."""
    known = [False] * len(line)
    for pattern in patterns():
        if re.escape(line) in pattern.pattern:
            return 1.0  # The beginning of a long message.
        if match := pattern.search(line):
            for group in range(1, pattern.groups + 1):
                begin, end = match.span(group)
                known[begin:end] = [True] * (end - begin)
    return sum(map(str.isalpha, (c for c, k in zip(line, known, strict=True) if k))) / letters(line)


def test_messages_are_quoted() -> None:
    assert len(quoted()) > 20


@pytest.mark.parametrize("line", quoted())
def test_a_quoted_message_is_written_by_the_code(line: str) -> None:
    assert from_the_code(line) >= SHARE, line


@pytest.mark.parametrize(
    "line",
    [
        "torchserve-fire evaluate: digits.safetensors: the bundle does not go with the model",
        "torchserve-fire swap: nothing was swapped, because the server is too busy with requests",
    ],
)
def test_what_nobody_writes_is_found(line: str) -> None:
    assert from_the_code(line) < SHARE
