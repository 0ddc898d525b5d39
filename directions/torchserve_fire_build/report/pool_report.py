"""The report on a pool: a table of all samples, and a picture of the flagged ones."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from torchserve_fire.format.write_file import write_folder

from ..pool.split import Split
from ..samples.class_label import Label
from ..samples.samples import Samples
from .contact_sheet import can_be_displayed, contact_sheet

TABLE, PICTURE = "samples.csv", "flagged.png"
COLUMNS = ("path", "predicted", "called", "score", "flagged")


def write_split_report(split: Split, pool: Samples, folder: Path, label: Label = str) -> None:
    """Write `samples.csv` and, for images, `flagged.png`.

    Args:
        split: what was found in the pool.
        pool: the samples; those of shape (1 or 3, H, W) are drawn.
        folder: the folder to write to; it is made if only its last part is missing.
        label: says what a class is called.

    Raises:
        OutputError: the folder or the files cannot be written.
    """
    files = {TABLE: _table(split, pool, label)}
    if can_be_displayed(pool):
        files[PICTURE] = _picture(split, pool, label)
    write_folder(folder, files)


def _table(split: Split, pool: Samples, label: Label) -> bytes:
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
        table.writerow((name, predicted, label(predicted), f"{score:.6g}", int(flagged)))
    return text.getvalue().encode()


def _picture(split: Split, pool: Samples, label: Label) -> bytes:
    """Draw the flagged samples, class by class, in each class the highest scores first."""
    flagged = split.flagged.nonzero().flatten()
    order = split.scores[flagged].argsort(descending=True, stable=True)
    order = order[split.predicted[flagged][order].argsort(stable=True)]
    shown = flagged[order].tolist()
    return contact_sheet(
        pool,
        shown,
        [f"as class {label(int(split.predicted[i]))}" for i in shown],
        f"{len(flagged)} of {len(pool)} samples look triggered",
    )
