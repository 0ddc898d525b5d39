"""What screening writes: a table and a contact sheet of the samples."""

from __future__ import annotations

import csv
import io
from pathlib import PurePath

from ..common.errors import SamplesError
from ..report.contact_sheet import can_be_displayed, contact_sheet
from ..samples.class_label import Label
from ..samples.samples import Samples
from .bundle_screening import BundleScreening
from .screening import Screening

MOST_LETTERS = 18
"""Of a line above a picture: as many as its tile is wide."""


def to_csv(screened: Screening | BundleScreening) -> bytes:
    """Return a table with a row for each sample, in the order in which they were given."""
    rows = screened.rows()
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def check_sheet(samples: Samples) -> None:
    """Refuse to draw what are no images.

    Raises:
        SamplesError: their shape is another.
    """
    if not can_be_displayed(samples):
        raise SamplesError(
            f"{samples.source}: samples of shape {samples.description.shape} cannot be drawn, "
            "expected images: leave out --sheet"
        )


def to_sheet(screened: Screening | BundleScreening, samples: Samples, label: Label = str) -> bytes:
    """Draw the samples as PNG with their names, the most suspicious ones first.

    Args:
        screened: what was found.
        samples: the samples that it names, and maybe others.
        label: says what a class is called.
    """
    order = screened.order()
    index = {name: i for i, name in enumerate(samples.names)}
    rows = screened.rows()
    if isinstance(screened, Screening):
        title = f"{len(order)} samples, by the chance that a clean one lies as far"
        captions = [_chance(label(rows[i]["predicted"]), rows[i]["chance"]) for i in order]
    else:
        flagged = sum(row["flagged"] for row in rows)
        title = f"{flagged} of {len(order)} samples are flagged: what they are called, and repaired"
        captions = [_repaired(label, **rows[i]) for i in order]
    captions = [
        f"{_shortened(screened.names[i])}\n{caption}"
        for i, caption in zip(order, captions, strict=True)
    ]
    return contact_sheet(samples, [index[screened.names[i]] for i in order], captions, title)


def _shortened(name: str) -> str:
    """Return the name of a file alone, without its middle where it is wider than a picture."""
    name = PurePath(name).name
    if len(name) <= MOST_LETTERS:
        return name
    kept = MOST_LETTERS - 1
    return f"{name[: kept // 2]}…{name[kept // 2 - kept :]}"


def _chance(called: str, chance: float | None) -> str:
    called = called if len(called) <= MOST_LETTERS - 8 else f"{called[: MOST_LETTERS - 9]}…"
    return f"{called}: " + ("-" if chance is None else f"{chance:.4f}")


def _repaired(
    label: Label, predicted: int, repaired: int, *, flagged: bool, **others: object
) -> str:
    if not flagged:
        return f"{predicted}, not flagged"
    named = f"{label(predicted)} → {label(repaired)}"
    # What is too long is told by its indices.
    return named if len(named) <= MOST_LETTERS else f"{predicted} → {repaired}"
