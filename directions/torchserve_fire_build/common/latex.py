"""LaTeX tables that need no package."""

from __future__ import annotations

from collections.abc import Sequence

SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def escaped(text: str) -> str:
    """Return a text as LaTeX sets it."""
    return "".join(SPECIAL.get(character, character) for character in text)


def latex_tabular(head: Sequence[str], rows: Sequence[Sequence[str]], comment: str) -> str:
    """Return a table, the first column to the left and the others to the right.

    Args:
        head: names of the columns.
        rows: texts of the cells.
        comment: a line above it, that LaTeX does not set.
    """
    lines = [
        f"% {comment}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\hline",
        _line(head),
        r"\hline",
        *map(_line, rows),
        r"\hline",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"
