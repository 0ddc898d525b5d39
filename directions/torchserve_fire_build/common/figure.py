"""Pictures: how matplotlib is set up, and the colours that all pictures share."""

from __future__ import annotations

import io
from typing import Any

INK, FAINT, MARK, NOTHING = "#1f2937", "#6b7280", "#d9480f", "#e5e7eb"

DPI = 120


def new_figure(width: float, height: float) -> Any:
    """Return an empty white figure, its size in inches; it needs no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Any, *, dpi: int = DPI, margin: float | None = None) -> bytes:
    """Return a figure as PNG. The file does not name matplotlib's version.

    Args:
        figure: the figure.
        dpi: dots per inch.
        margin: space around everything that is drawn, in inches; a long text then widens the
            picture. None keeps the figure's size.
    """
    buffer = io.BytesIO()
    tight = {} if margin is None else {"bbox_inches": "tight", "pad_inches": margin}
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, **tight)
    return buffer.getvalue()
