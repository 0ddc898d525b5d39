"""Samples from tables: CSV or Parquet, or a folder of such files, as a quarantine is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from torchserve_fire.errors import FireError, InputError, first_line
from torchserve_fire.format.table import Table, category
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.table_body import rows_of_csv
from torchserve_fire.model.table_row import CellError, Row, cells_of_texts, checked_row

from ..common.environment import require_extras
from ..common.errors import SamplesError
from .sample_files import is_left_out
from .table_samples import TableSamples

TABLE_SUFFIXES = (".csv", ".parquet")


@dataclass
class _Rows:
    """The rows of one or more files, in their order."""

    rows: list[Row] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def read_table_samples(path: Path, config: HandlerConfig) -> TableSamples:
    """Read the rows of a table.

    Args:
        path: a `.csv` file with a header, or a `.parquet` file; or a folder of such files, whose
            rows are called by their files.
        config: the settings, with the columns. In a file, `label_column` has each row's class: if
            all are whole numbers, they are the classes' indices, else their names. `id_column` has
            what each row is called: rows of two files that are called the same are pairs. Without
            it, rows are numbered.

    Raises:
        SamplesError: there is no such file, it cannot be read, or a row is not what the settings
            say; some rows have a class and some have none, or two are called the same.
    """
    if config.table is None:
        raise SamplesError(f"{path}: expected settings with input: table")
    if path.is_dir():
        files = sorted(
            x
            for x in path.iterdir()
            if x.suffix.lower() in TABLE_SUFFIXES and not is_left_out(x.name)
        )
    else:
        files = [path] if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES else []
    if not files:
        raise SamplesError(
            f"{path}: expected a {' or '.join(TABLE_SUFFIXES)} file of rows, or a folder of such "
            "files (handler: input: table)"
        )
    found = _Rows()
    for file in files:
        _add_rows(found, file, config.table, config)
    if not found.rows:
        raise SamplesError(f"{path}: expected rows below the header, found none")
    labels, class_names = _classes(found, config.label_column)
    names = _names(found, config.id_column)
    if path.is_dir() and names is None:
        names = [Path(place).name for place in found.places]
    return TableSamples(
        found.rows,
        found.places,
        config.table,
        source=path,
        names=names,
        class_names=class_names,
        labels=labels,
    )


def _add_rows(found: _Rows, file: Path, table: Table, config: HandlerConfig) -> None:
    is_csv = file.suffix.lower() == ".csv"
    for number, cells in _csv_rows(file) if is_csv else _parquet_rows(file):
        place = f"{file}: {'line' if is_csv else 'row'} {number}"
        try:
            typed = cells_of_texts(cells, table) if is_csv else cells
            found.rows.append(checked_row(typed, table, config.columns_beside))
        except InputError as error:
            raise SamplesError(f"{place}: {_said(error)}{_hint(error, config)}") from None
        found.places.append(place)
        for column, values in (
            (config.label_column, found.labels),
            (config.id_column, found.names),
        ):
            text = None if column is None else _text_beside(cells.get(column), column, place)
            if text is not None:
                values.append(text)


def _text_beside(value: Any, column: str, place: str) -> str | None:
    """Return a label, or what a row is called, as text; None where it is missing.

    Raises:
        SamplesError: it is neither a text nor an integer.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    text = category(value)
    if text is None:
        raise SamplesError(f"{place}: {column}: {value!r:.60}, expected a text or an integer")
    return text


def _said(error: InputError) -> str:
    return f"{error}, found {error.found}" if isinstance(error, CellError) else str(error)


def _hint(error: InputError, config: HandlerConfig) -> str:
    if error.reason != "column" or len(config.columns_beside) == 2:
        return ""
    return (
        "; a column with the rows' classes, or with what they are called, is named under handler: "
        "label_column, id_column"
    )


def _csv_rows(file: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            yield from rows_of_csv(stream)
    except UnicodeDecodeError:
        raise SamplesError(f"{file}: expected text in UTF-8") from None
    except (OSError, ValueError) as error:
        raise SamplesError(f"{file}: {first_line(error)}") from None


def _parquet_rows(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        require_extras("parquet")
    except FireError as error:
        raise SamplesError(f"{file}: {error}") from None
    from pyarrow.parquet import read_table

    try:
        rows = read_table(file).to_pylist()
    except Exception as error:  # Whatever its readers raise on a damaged file.
        raise SamplesError(f"{file}: not a readable Parquet file: {first_line(error)}") from None
    yield from enumerate(rows, 1)


def _classes(found: _Rows, column: str | None) -> tuple[torch.Tensor | None, Sequence[str] | None]:
    """Return the labels by index, or by name, or neither where no row has one.

    Raises:
        SamplesError: only some rows have one.
    """
    labels = found.labels
    if not labels:
        return None, None
    if len(labels) < len(found.rows):
        raise SamplesError(
            f"{found.places[0].rpartition(': ')[0]}: {column}: {len(labels)} of {len(found.rows)} "
            "rows have a class, expected all or none"
        )
    if all(label.isascii() and label.isdecimal() and len(label) < 19 for label in labels):
        return torch.tensor([int(label) for label in labels]), None
    return None, labels


def _names(found: _Rows, column: str | None) -> Sequence[str] | None:
    """Return what the rows are called; None where the files do not say.

    Raises:
        SamplesError: only some rows have a name, or two have the same.
    """
    names = found.names
    if not names:
        return None
    file = found.places[0].rpartition(": ")[0]
    if len(names) < len(found.rows):
        raise SamplesError(
            f"{file}: {column}: {len(names)} of {len(found.rows)} rows have one, expected all or "
            "none"
        )
    if again := _first_again(names):
        raise SamplesError(f"{file}: {column}: {again!r:.60} stands there twice, expected it once")
    return names


def _first_again(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
