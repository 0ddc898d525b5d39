"""The receiver operating characteristic of a scan: victims found against false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torchserve_fire_build.common.figure import FAINT, INK, new_figure, to_png
from torchserve_fire_build.scan.verdict import FOUND

from .small_picture import with_palette

Row = Mapping[str, Any]

SIZE = (5.2, 4.4)
COLOURS = ("#2563eb", "#c2410c", "#15803d")


def roc(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Return shares of false alarms and of victims found, from the highest probability down.

    Args:
        rows: verdicts, of benign models and of victims.
    """
    benign = [row["probability"] for row in rows if not row["backdoored"]]
    victims = [row["probability"] for row in rows if row["backdoored"]]
    points = [(0.0, 0.0)]
    for threshold in sorted({*benign, *victims}, reverse=True):
        alarms = sum(probability >= threshold for probability in benign)
        found = sum(probability >= threshold for probability in victims)
        points.append((alarms / len(benign), found / len(victims)))
    return points


def area_under(points: Sequence[tuple[float, float]]) -> float:
    """Return the area under the curve, by trapezoids."""
    return sum((right - left) * (low + high) / 2 for (left, low), (right, high) in pairwise(points))


def draw_roc(rows: Sequence[Row]) -> bytes:
    """Return a PNG with a curve for each number of clean images, and where models are named."""
    figure = new_figure(*SIZE)
    axes = figure.add_subplot()
    # A curve needs models of both kinds.
    of_benign, of_victims = (
        {row["count"] for row in rows if row["backdoored"] is kind} for kind in (False, True)
    )
    for count, colour in zip(sorted(of_benign & of_victims), COLOURS, strict=False):
        of_count = [row for row in rows if row["count"] == count]
        points = roc(of_count)
        label = f"{count} clean images: area {area_under(points):.3f}"
        axes.plot(*zip(*points, strict=True), color=colour, label=label)
        named = [{**row, "probability": float(row["found"] is True)} for row in of_count]
        axes.plot(*roc(named)[1], "o", color=colour)
    axes.plot([], [], "o", color=INK, label=f"named: a probability of {FOUND} or more")
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", label="by chance")
    axes.set_xlabel("share of benign models with an alarm")
    axes.set_ylabel("share of victims found")
    axes.set_xlim(-0.02, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right", fontsize=8)
    return with_palette(to_png(figure, margin=0.1))
