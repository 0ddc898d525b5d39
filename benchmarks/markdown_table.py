"""Tables of Markdown, for the documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its last line ends, as the others do, with a newline.

    Args:
        headings: of the columns.
        rows: the cells of each line below the headings.

    Raises:
        ValueError: a row has more or fewer cells than there are headings.
    """
    lines = [_line(headings), "|---" * len(headings) + "|\n"]
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"{len(row)} cells below {len(headings)} headings: {row}")
        lines.append(_line(row))
    return "".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
