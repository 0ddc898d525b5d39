"""A report that can be handed on: one HTML page that needs no network, and the same as data."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from torchserve_fire.format.write_file import check_folder, write_folder

from ..common.latex import latex_tabular

PAGE, NUMBERS, ROWS, TABULAR = FILES = ("report.html", "report.json", "report.csv", "report.tex")


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: above it.
        head: names of the columns.
        rows: texts of the cells.
        note: a line below it, that says how to read it.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Bars:
    """A number for each of several things, drawn as bars.

    Attributes:
        title: above them.
        labels: of the things.
        values: 0 or more each.
        threshold: a value that matters, drawn as a line; None for none.
        note: a line below, that says what the bars and the line are.
    """

    title: str
    labels: Sequence[str]
    values: Sequence[float]
    threshold: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        png: the contents of a PNG file.
        caption: a line that says what it shows.
    """

    png: bytes
    caption: str


@dataclass(frozen=True)
class SampleTable:
    """A row for each sample; the page sorts and filters them.

    Attributes:
        head: names of the columns.
        rows: texts of the cells.
        thumbnails: a small JPEG file of each; empty where samples cannot be drawn.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    thumbnails: Sequence[bytes] = ()


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        title: what was done, and to what.
        verdict: what came of it, in a sentence.
        tone: what the verdict is painted in: "good", "bad", "unsure" or "plain".
        tables: the first one is written as LaTeX, too, and as CSV where there are no samples.
        values: all figures, as JSON values.
        provenance: what it takes to do it again, by name: digests, versions, settings.
        bars: drawn behind the tables.
        pictures: shown behind these.
        samples: a row for each; None where nothing is said of single samples.
    """

    title: str
    verdict: str
    tone: str
    tables: Sequence[Table]
    values: Mapping[str, Any]
    provenance: Mapping[str, str]
    bars: Sequence[Bars] = ()
    pictures: Sequence[Picture] = ()
    samples: SampleTable | None = None


def check_report_files(folder: Path) -> None:
    """Refuse a folder that cannot take a report, before the work begins.

    Raises:
        OutputError: it is not a folder, or it neither exists nor can be made.
    """
    check_folder(folder, FILES)


def write_html_report(report: Report, folder: Path) -> Path:
    """Write `report.html`, and its figures as `.json`, `.csv` and `.tex`.

    Returns:
        The page.

    Raises:
        OutputError: the files cannot be written; then none of them has changed.
    """
    first = report.tables[0]
    values = {"verdict": report.verdict, "provenance": dict(report.provenance), **report.values}
    files = {
        PAGE: render(report).encode(),
        NUMBERS: (json.dumps(values, indent=2, allow_nan=False) + "\n").encode(),
        ROWS: _csv(report.samples or first),
        TABULAR: latex_tabular(first.head, first.rows, f"{report.title}: {first.title}").encode(),
    }
    return write_folder(folder, files)[0]


def render(report: Report) -> str:
    """Return a report as an HTML page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    environment.globals.update(longest=_longest, zip=zip)
    return environment.get_template("report.html.jinja").render(report=report)


def _longest(bars: Bars) -> float:
    """Return what the whole width stands for."""
    return max(*bars.values, bars.threshold or 0, 1e-12)


def _csv(table: Table | SampleTable) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.head)
    writer.writerows(table.rows)
    return text.getvalue().encode()
