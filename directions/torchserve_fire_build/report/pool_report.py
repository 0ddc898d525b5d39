"""The report on a pool: a table of all samples, and a picture of the flagged ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.write_file import write_folder

from ..common.figure import FAINT, INK, new_figure, to_png
from ..pool.split import Split
from ..samples.samples import Samples

TABLE, PICTURE = "samples.csv", "flagged.png"
COLUMNS = ("path", "predicted", "score", "flagged")
MOST_SHOWN, SHOWN_IN_ROW = 100, 10
CELL, TOP = 0.9, 0.4


def write_split_report(split: Split, pool: Samples, folder: Path) -> None:
    """Write `samples.csv` and, for images, `flagged.png`.

    Args:
        split: what was found in the pool.
        pool: the samples; those of shape (1 or 3, H, W) are drawn.
        folder: the folder to write to; it is made if only its last part is missing.

    Raises:
        OutputError: the folder or the files cannot be written.
    """
    files = {TABLE: _table(split, pool)}
    shape = pool.description.shape
    if len(shape) == 3 and shape[0] in (1, 3):
        files[PICTURE] = _picture(split, pool, pool.description)
    write_folder(folder, files)


def _table(split: Split, pool: Samples) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, predicted, score, flagged in zip(
        pool.names,
        split.predicted.tolist(),
        split.scores.tolist(),
        split.flagged.tolist(),
        strict=True,
    ):
        table.writerow((name, predicted, f"{score:.6g}", int(flagged)))
    return text.getvalue().encode()


def _picture(split: Split, pool: Samples, description: InputDescription) -> bytes:
    """Draw the flagged samples, class by class, in each class the highest scores first."""
    flagged = split.flagged.nonzero().flatten()
    order = split.scores[flagged].argsort(descending=True, stable=True)
    order = order[split.predicted[flagged][order].argsort(stable=True)]
    shown = flagged[order][:MOST_SHOWN].tolist()
    rows = -(-len(shown) // SHOWN_IN_ROW)
    size = (CELL * SHOWN_IN_ROW, TOP + CELL * rows)
    figure = new_figure(*size)
    more = "" if len(shown) == len(flagged) else f", of which {len(shown)} are shown"
    title = f"{len(flagged)} of {len(pool)} samples look triggered{more}"
    top = 1 - 0.12 / size[1]
    figure.text(0.01, top, title, fontsize=11, color=INK, weight="bold", va="top")
    axes: Any = figure.add_axes((0, 0, 1, CELL * rows / size[1]))
    axes.set_axis_off()
    for i, pixels in enumerate(_displayed(pool, shown, pool.description)):
        row, column = divmod(i, SHOWN_IN_ROW)
        axes.imshow(
            pixels,
            cmap="gray",
            vmin=0,
            vmax=1,
            extent=(column + 0.1, column + 0.9, row + 1.0, row + 0.2),
        )
        above = f"as class {int(split.predicted[shown[i]])}"
        axes.text(column + 0.5, row + 0.1, above, fontsize=7, color=FAINT, ha="center", va="center")
    axes.set_xlim(0, SHOWN_IN_ROW)
    axes.set_ylim(rows, 0)
    return to_png(figure)


def _displayed(
    pool: Samples, indices: Sequence[int], description: InputDescription
) -> list[npt.NDArray[np.float32]]:
    """Return samples as they were before normalisation, (H, W) or (H, W, 3) in [0, 1]."""
    inputs = pool.load(indices)
    if description.mean:
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (description.mean, description.std))
        inputs = inputs * std + mean
    else:
        # The scale of tensors that are not images is unknown.
        low, high = inputs.amin(), inputs.amax()
        inputs = (inputs - low) / (high - low).clamp(min=1e-12)
    pixels = inputs.clamp(0, 1).permute(0, 2, 3, 1)
    return [(image[..., 0] if image.shape[2] == 1 else image).numpy() for image in pixels]
