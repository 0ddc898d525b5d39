"""The demo's picture: clean, triggered and repaired requests with the server's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.figure import FAINT, INK, new_figure, to_png
from .ask_server import Answer

RIGHT, WRONG = "#15803d", "#c2261c"


@dataclass(frozen=True)
class Row:
    """One row of the picture.

    Attributes:
        title: what is sent.
        archive: to which archive.
        verdict: the figure that sums it up.
        good: whether it is a good one.
        images: what is sent, (N, H, W) uint8.
        answers: what the server answered.
    """

    title: str
    archive: str
    verdict: str
    good: bool
    images: npt.NDArray[np.uint8]
    answers: Sequence[Answer]


def draw(rows: Sequence[Row], labels: Sequence[int], path: Path) -> None:
    """Write a PNG with one row for each kind of request.

    Args:
        rows: from top to bottom, each with as many images as there are labels.
        labels: the true digit of each column.
        path: the PNG file.
    """
    count = len(labels)
    figure = new_figure(2.6 + 1.0 * count, 1.48 * len(rows) + 0.2)
    grid = figure.add_gridspec(
        len(rows),
        count + 1,
        width_ratios=[2.5] + [1.0] * count,
        left=0.01,
        right=0.99,
        top=0.97,
        bottom=0.08,
        wspace=0.12,
        hspace=0.38,
    )
    for index, row in enumerate(rows):
        _heading(figure.add_subplot(grid[index, 0]), row)
        for column, (image, answer, label) in enumerate(
            zip(row.images, row.answers, labels, strict=True)
        ):
            _case(figure.add_subplot(grid[index, column + 1]), image, answer, label)
    path.write_bytes(to_png(figure, dpi=130))


def _heading(axes: Any, row: Row) -> None:
    axes.axis("off")
    colour = RIGHT if row.good else WRONG
    for height, text, size, ink, weight in (
        (0.82, row.title, 13, INK, "bold"),
        (0.52, row.archive, 10.5, FAINT, "normal"),
        (0.20, row.verdict, 11.5, colour, "bold"),
    ):
        axes.text(
            0, height, text, fontsize=size, color=ink, weight=weight, va="center",
            transform=axes.transAxes,
        )  # fmt: skip


def _case(axes: Any, image: npt.NDArray[np.uint8], answer: Answer, label: int) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    colour = RIGHT if answer.index == label else WRONG
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2.5)
    axes.set_xlabel(f"reads {answer.index}", fontsize=12.5, color=colour, weight="bold", labelpad=3)
