"""What screening writes: a table and a contact sheet of the samples."""

from __future__ import annotations

import csv
import io

from ..common.errors import SamplesError
from ..report.contact_sheet import can_be_displayed, contact_sheet
from ..samples.samples import Samples
from .bundle_screening import BundleScreening
from .screening import Screening


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


def to_sheet(screened: Screening | BundleScreening, samples: Samples) -> bytes:
    """Draw the samples as PNG, the most suspicious ones first.

    Args:
        screened: what was found.
        samples: the samples that it names, and maybe others.
    """
    order = screened.order()
    index = {name: i for i, name in enumerate(samples.names)}
    rows = screened.rows()
    if isinstance(screened, Screening):
        title = f"{len(order)} samples, by the chance that a clean one lies as far"
        captions = [_chance(rows[i]["predicted"], rows[i]["chance"]) for i in order]
    else:
        flagged = sum(row["flagged"] for row in rows)
        title = f"{flagged} of {len(order)} samples are flagged: what they are called, and repaired"
        captions = [_repaired(**rows[i]) for i in order]
    return contact_sheet(samples, [index[screened.names[i]] for i in order], captions, title)


def _chance(predicted: int, chance: float | None) -> str:
    return f"class {predicted}: " + ("not judged" if chance is None else f"{chance:.4f}")


def _repaired(predicted: int, repaired: int, *, flagged: bool, **others: object) -> str:
    return f"{predicted} → {repaired}" if flagged else f"{predicted}, not flagged"
