"""Pictures of inspections: anomaly indices as bars, and a grid of the classes' pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from torchserve_fire.format.write_file import check_folder, write_folder

from ..common.figure import FAINT, INK, MARK, NOTHING, new_figure, to_png
from ..samples.class_label import Label
from .findings import Run
from .inspection import MAX_CLASSES, Inspection

BARS = "anomaly.png"

BAR = "#4292c6"

COLUMNS = 10

MAX_NAME = 14
"""Characters of a class's name beside its index, which a picture has room for."""


def check_picture_folder(folder: Path, methods: Sequence[str]) -> None:
    """Refuse a folder that cannot take pictures, before the work begins.

    Raises:
        OutputError: it is not a folder, or it neither exists nor can be made.
    """
    check_folder(folder, [BARS, *(f"{method}.png" for method in methods)])


def write_pictures(runs: Sequence[Run], folder: Path, label: Label = str) -> list[Path]:
    """Write the bars of all methods to `anomaly.png`, and each method's pictures to `METHOD.png`.

    Args:
        runs: the inspections of one model.
        folder: the folder to write to; it is made if only its last part is missing.
        label: says what a class is called.

    Returns:
        The files; none if no method compared the classes.

    Raises:
        OutputError: the folder or the files cannot be written.
    """
    files: dict[str, bytes] = {}
    if any(run.inspection.index is not None for run in runs):
        files[BARS] = draw_bars(runs, label)
    for run in runs:
        if run.inspection.pictures is not None:
            files[f"{run.inspection.method}.png"] = draw_grid(run, run.inspection.pictures, label)
    return write_folder(folder, files) if files else []


def draw_bars(runs: Sequence[Run], label: Label = str) -> bytes:
    """Draw the anomaly index of each class, by method, with the threshold as a line.

    Args:
        runs: the inspections; for those without an index, only their result is written.
        label: says what a class is called.

    Returns:
        A PNG.
    """
    drawn = [(run, run.inspection.index) for run in runs if run.inspection.index is not None]
    widest = max(len(_shown(run.inspection, len(index))) for run, index in drawn)
    figure = new_figure(max(4.5, 0.42 * widest), 2.4 * len(drawn))
    for row, (run, index) in enumerate(drawn):
        _draw_bars(figure.add_subplot(len(drawn), 1, row + 1), run, index, label)
    without_index = [run for run in runs if run.inspection.index is None]
    text = "\n".join(f"{run.inspection.method}: {run.words}" for run in without_index)
    figure.text(0.125, 0, text, fontsize=11, color=INK, weight="bold", va="top")
    figure.subplots_adjust(hspace=0.75)
    return to_png(figure, margin=0.2)


def draw_grid(run: Run, pictures: Tensor, label: Label = str) -> bytes:
    """Draw the picture of each class, with its index or probability; suspects are framed.

    Args:
        run: the run of a method.
        pictures: its pictures, (classes, C, H, W) or (classes, H, W), of all classes or of those
            in `pictured`. Pictures of three channels
            are drawn in colour, each between its own extremes. For others, the mean absolute value
            of the channels is drawn, all on one scale.
        label: says what a class is called.

    Returns:
        A PNG.
    """
    inspection = run.inspection
    classes = range(len(pictures)) if inspection.pictured is None else inspection.pictured
    rows_of = {c: row for row, c in enumerate(classes)}
    shown = _shown(inspection, len(pictures)) if inspection.pictured is None else sorted(classes)
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    tall = pictures.shape[-2] / pictures.shape[-1]
    figure = new_figure(1.25 * columns, (1.25 * tall + 0.25) * rows)
    title = f"{inspection.method}: {run.words}"
    figure.text(0, 1.02, title, fontsize=13, color=INK, weight="bold", va="bottom")
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.92, hspace=0.3, wspace=0.1)
    colour = pictures.dim() == 4 and pictures.shape[1] == 3
    flat = pictures if colour or pictures.dim() == 3 else pictures.abs().mean(1)
    scale: Mapping[str, Any] = {"cmap": "Blues", "vmin": 0, "vmax": float(flat.max())}
    for place, c in enumerate(shown):
        axes = figure.add_subplot(rows, columns, place + 1)
        if colour:
            axes.imshow(_in_colour(flat[rows_of[c]]))
        else:
            axes.imshow(flat[rows_of[c]].numpy(), **scale)
        index = "" if inspection.index is None else f": {float(inspection.index[c]):.2f}"
        if inspection.probabilities is not None:
            index = f": {float(inspection.probabilities[c]):.0%}"
        suspect = c in inspection.suspects
        axes.set_title(
            f"{_called(c, label)}{index}", fontsize=8.5, color=MARK if suspect else FAINT, pad=4
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(color=MARK if suspect else NOTHING, linewidth=2.5 if suspect else 1)
    return to_png(figure, margin=0.2)


def _shown(inspection: Inspection, classes: int) -> list[int]:
    """Return the classes to draw, in their order."""
    if classes <= MAX_CLASSES or inspection.index is None:
        return list(range(min(classes, MAX_CLASSES)))
    return sorted(inspection.index.argsort(descending=True)[:MAX_CLASSES].tolist())


def _draw_bars(axes: Any, run: Run, index: Tensor, label: Label) -> None:
    inspection = run.inspection
    shown, suspects = _shown(inspection, len(index)), inspection.suspects
    heights = [float(index[c]) for c in shown]
    colours = [MARK if c in suspects else BAR for c in shown]
    axes.bar(range(len(shown)), heights, color=colours, width=0.7)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.axhline(inspection.threshold, color=MARK, linewidth=1, linestyle="--")
    chosen = "" if len(shown) == len(index) else f", the {len(shown)} largest of {len(index)}"
    title = f"{inspection.method}: {run.words}{chosen}"
    axes.set_title(title, fontsize=11, color=INK, loc="left", weight="bold")
    axes.set_ylabel("anomaly index", fontsize=9, color=FAINT)
    axes.set_xlabel("class", fontsize=9, color=FAINT)
    axes.set_xticks(range(len(shown)), [_called(c, label).removeprefix("class ") for c in shown])
    if any(label(c) != str(c) for c in shown):
        for tick in axes.get_xticklabels():
            tick.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.spines[:].set_visible(False)


def _called(c: int, label: Label) -> str:
    """Return what a class is called, as short as its place."""
    name = label(c)
    if name == str(c):
        return f"class {c}"
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def _in_colour(picture: Tensor) -> np.ndarray[Any, Any]:
    """Return a picture, (3, H, W), as (H, W, 3) from 0 to 1."""
    low, high = float(picture.min()), float(picture.max())
    spread = (picture - low) / (high - low) if high > low else picture * 0
    return spread.permute(1, 2, 0).numpy()
