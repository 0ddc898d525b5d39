"""A bundle in a few lines, for a terminal, or as a small table, for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bundle import Bundle

MAX_LAYERS = 20
"""Layers that are shown; of further ones, their number."""


def summary_text(bundle: Bundle) -> str:
    """Return the model's class, the targets, the digest, and a line for each layer."""
    rows = [", ".join(filter(None, row)) for row in _rows(bundle)]
    return "\n  ".join([_title(bundle), *rows, *_left_out(bundle)])


def summary_html(bundle: Bundle) -> str:
    """Return what `summary_text` returns, as a table."""
    head = _html_row("th", ("layer", "role", "correction", "strength", "target"))
    rows = "".join(_html_row("td", row) for row in _rows(bundle))
    rest = "".join(_html_row("td", (line,)) for line in _left_out(bundle))
    return f"<table><caption>{escape(_title(bundle))}</caption>{head}{rows}{rest}</table>"


def _title(bundle: Bundle) -> str:
    targets = ", ".join(map(str, bundle.targets))
    saved = f"sha256 {bundle.digest[:12]}..." if bundle.digest else "not saved"
    return f"Bundle for {bundle.model_class}, target {targets}, {saved}"


def _rows(bundle: Bundle) -> list[tuple[str, ...]]:
    """Return each layer's name, role, form, strength and target, as far as it has them."""
    return [
        (
            layer.name,
            layer.role,
            layer.correction.form if layer.correction else "",
            f"strength {layer.correction.strength:g}" if layer.correction else "",
            "" if layer.target is None else f"target {layer.target}",
        )
        for layer in bundle.layers[:MAX_LAYERS]
    ]


def _left_out(bundle: Bundle) -> list[str]:
    rest = len(bundle.layers) - MAX_LAYERS
    return [f"and {rest} more"] if rest > 0 else []


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
