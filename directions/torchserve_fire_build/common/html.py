"""HTML tables and pictures, for notebooks."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table as HTML.

    Args:
        head: the names of the columns.
        rows: the texts of the cells, row by row.
        caption: what the table shows.
    """
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}{''.join(lines)}</table>"


def html_picture(png: bytes, text: str) -> str:
    """Return a PNG as an HTML image that needs no file; `text` says what it shows."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(text)}" style="max-width: 100%" src="data:image/png;base64,{data}">'


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
