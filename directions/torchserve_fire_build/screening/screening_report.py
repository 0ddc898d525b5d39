"""The report on whether samples are triggered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..report.contact_sheet import can_be_displayed
from ..report.html_report import Report, SampleTable, Table
from ..report.thumbnails import thumbnails
from ..samples.class_label import Label
from ..samples.samples import Samples
from .bundle_screening import BundleScreening
from .screening import Screening

TONES = {True: "bad", False: "good", None: "unsure"}

MOST_THUMBNAILS = 1000
"""Of more samples, none is drawn: the page would be large."""

EXCHANGEABLE = (
    "Samples that come from elsewhere than the clean ones are found as well: of images, another "
    "camera, size or compression. Look at them."
)


def screening_report(
    screened: Screening | BundleScreening,
    samples: Samples,
    label: Label,
    title: str,
    provenance: Mapping[str, str],
) -> Report:
    """Return the report.

    Args:
        screened: what was found.
        samples: the samples that it names, and maybe others.
        label: says what a class is called.
        title: what was screened.
        provenance: what it takes to do it again.
    """
    words = screened.in_words(label)
    rows, order = screened.rows(), screened.order()
    index = {name: i for i, name in enumerate(samples.names)}
    drawn = can_be_displayed(samples) and len(order) <= MOST_THUMBNAILS
    return Report(
        title,
        f"{words[0].upper()}{words[1:]}.",
        TONES[screened.found],
        [_summary(screened, label)],
        {"screening": screened.to_json()},
        provenance,
        samples=SampleTable(
            [name.replace("_", " ") for name in rows[0]],
            [_cells(rows[i], label) for i in order],
            thumbnails(samples, [index[screened.names[i]] for i in order]) if drawn else (),
        ),
    )


def _summary(screened: Screening | BundleScreening, label: Label) -> Table:
    if isinstance(screened, BundleScreening):
        flagged = sum(verdict.flagged for verdict in screened.verdicts)
        rows = [("flagged", str(flagged)), ("all", str(len(screened.names)))]
        note = "The bundle knows the triggers that it was built for, and no others."
        return Table("Samples", ("", "samples"), rows, note)
    groups = [
        (
            ", ".join(label(c) for c in group.classes),
            str(len(group.samples)),
            str(group.clean),
            f"{group.p:.2g}",
            "yes" if differs else "no",
        )
        for group, differs in zip(screened.groups, screened.differ, strict=True)
    ]
    head = ("called", "samples", "clean samples", "chance that clean ones differ as much", "found")
    return Table("Groups of samples that are called the same", head, groups, EXCHANGEABLE)


def _cells(row: Mapping[str, Any], label: Label) -> list[str]:
    return [_cell(name, value, label) for name, value in row.items()]


def _cell(name: str, value: Any, label: Label) -> str:
    if value is None:
        return ""
    if name in ("predicted", "repaired"):
        return label(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    # Four digits, and no exponent of what is large.
    return f"{value:.{4 if abs(value) < 1e4 else 8}g}" if isinstance(value, float) else str(value)
