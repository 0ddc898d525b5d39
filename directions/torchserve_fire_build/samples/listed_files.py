"""Samples that a list names: CSV with a header, or JSON Lines, of paths and labels."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchserve_fire.errors import first_line

from ..common.errors import SamplesError
from .sample_files import SampleFiles

LIST_SUFFIXES = (".csv", ".jsonl", ".ndjson")
EXAMPLES = {"path": '"a.jpg"', "text": '"Some words."'}
COLUMNS = "'path', and optionally 'label', a class's index or name"


def files_in_list(file: Path) -> SampleFiles:
    """Read a list of samples.

    Args:
        file: CSV whose header has `path` and optionally `label`; or JSON Lines, an object with
            these keys on each line. Paths are relative to the list's folder. If all labels are
            whole numbers, they are the classes' indices; else their names. Other columns are
            ignored.

    Returns:
        The files. Their names are relative to the innermost folder that holds them all.

    Raises:
        SamplesError: the list cannot be read or names no sample; a file does not exist, or stands
            there twice; some samples have a label and some have none.
    """
    paths: list[str] = []
    labels: list[str] = []
    seen: set[str] = set()
    for place, path, label in _entries(file):
        # Not resolved: what a link is called counts.
        whole = os.path.abspath(file.parent / path)  # noqa: PTH100
        if not Path(whole).is_file():
            raise SamplesError(f"{place}: {path}: no such file, expected one, from {file.parent}")
        if whole in seen:
            raise SamplesError(f"{place}: {path}: stands there twice, expected each file once")
        if paths and bool(label) != bool(labels):
            raise SamplesError(
                f"{place}: {'a' if label else 'no'} label, expected one on every line, or on none"
            )
        seen.add(whole)
        paths.append(whole)
        labels += [label] if label else []
    if not paths:
        raise SamplesError(f"{file}: expected a line for each sample, found none")
    top = os.path.commonpath([Path(path).parent for path in paths])
    class_names, indices = classes_of_labels(labels)
    return SampleFiles(
        file,
        [Path(path) for path in paths],
        [Path(os.path.relpath(path, top)).as_posix() for path in paths],
        class_names=class_names,
        labels=indices,
    )


def classes_of_labels(labels: Sequence[str]) -> tuple[Sequence[str] | None, Tensor | None]:
    """Return the classes that labels name, and their indices if all labels are whole numbers.

    Returns:
        Names, or (N,) int64; the other one is None, and both are if there are no labels.
    """
    if labels and all(label.isascii() and label.isdecimal() for label in labels):
        return None, torch.tensor([int(label) for label in labels])
    return labels or None, None


def _entries(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield for each sample: where it stands, its path, and its label or an empty text.

    Raises:
        SamplesError: a line is none of such a list.
    """
    for line, row in list_rows(file, "path", COLUMNS):
        place, path = f"{file}: line {line}", row.get("path")
        if not isinstance(path, str) or not path.strip():
            raise SamplesError(f"{place}: no path, expected {COLUMNS}")
        yield place, path.strip(), row["label"]


def list_rows(file: Path, needed: str, columns: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line of a list, and its columns; `label` is a text, maybe empty.

    Args:
        file: CSV or JSON Lines.
        needed: a column that the header of CSV must have.
        columns: in words, all that the list may have.

    Raises:
        SamplesError: the list cannot be read, or a line is none of such a list.
    """
    rows = _csv_rows(file, needed, columns) if _is_csv(file) else _json_rows(file, needed)
    try:
        for line, row in rows:
            label = row.get("label")
            if type(label) not in (int, str, type(None)):
                raise SamplesError(
                    f"{file}: line {line}: label {label!r:.60}, expected a class's index or name"
                )
            yield line, {**row, "label": "" if label is None else str(label).strip()}
    except UnicodeDecodeError:
        raise SamplesError(f"{file}: expected text in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise SamplesError(f"{file}: cannot be read: {first_line(error)}") from None


def columns_of(file: Path) -> list[str]:
    """Return the names of a list's columns; of JSON Lines, the keys of the first line.

    Raises:
        SamplesError: the list cannot be read.
    """
    try:
        if _is_csv(file):
            with file.open(encoding="utf-8-sig", newline="") as stream:
                return [name.strip() for name in csv.DictReader(stream).fieldnames or ()]
        first = next(_json_rows(file, "path"), None)
    except UnicodeDecodeError:
        raise SamplesError(f"{file}: expected text in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise SamplesError(f"{file}: cannot be read: {first_line(error)}") from None
    return [] if first is None else list(first[1])


def _is_csv(file: Path) -> bool:
    return file.suffix.lower() == ".csv"


def _csv_rows(file: Path, needed: str, columns: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        header = [name.strip() for name in reader.fieldnames or ()]
        if needed not in header:
            found = ",".join(header)[:100]
            raise SamplesError(
                f"{file}: line 1: {found!r}, expected a header with commas between its columns: "
                f"{columns}"
            )
        reader.fieldnames = header
        for row in reader:
            yield reader.line_num, row


def _json_rows(file: Path, needed: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise SamplesError(
                    f"{file}: line {number}: expected a JSON object, such as "
                    f'{{"{needed}": {EXAMPLES[needed]}, "label": 0}}'
                )
            yield number, row
