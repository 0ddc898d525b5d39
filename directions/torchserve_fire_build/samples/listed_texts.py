"""Samples that are the texts of a table: CSV with a header, or JSON Lines, of texts and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from torchserve_fire.model.request_body import RequestBody

from ..common.errors import SamplesError
from .listed_files import classes_of_labels, columns_of, list_rows

TEXT = "text"
COLUMNS = "'text', and optionally 'label', a class's index or name, and 'id'"


@dataclass(frozen=True)
class ListedTexts:
    """Texts of a table.

    Attributes:
        source: the table's file.
        texts: (N,).
        names: the id of each, or its number if there are no ids. Those of the same id are pairs.
        lines: where each stands in the file.
        numbered: whether there are no ids.
        class_names: the class of each by its name; None if that is unknown.
        labels: the class of each by its index, (N,) int64; None if that is unknown.
    """

    source: Path
    texts: Sequence[str]
    names: Sequence[str]
    lines: Sequence[int]
    numbered: bool
    class_names: Sequence[str] | None = None
    labels: Tensor | None = None

    def body(self, index: int) -> RequestBody:
        """Return the body of a request with a text: the text itself."""
        return RequestBody(self.texts[index].encode(), ".txt")

    def place(self, index: int) -> str:
        """Return where a text stands, for messages."""
        return f"{self.source}: line {self.lines[index]}"


def holds_texts(file: Path) -> bool:
    """Return whether a list has texts, and not paths.

    Raises:
        SamplesError: it cannot be read, or has neither.
    """
    columns = columns_of(file)
    if columns and TEXT not in columns and "path" not in columns:
        raise SamplesError(
            f"{file}: line 1: {', '.join(columns)[:100]!r}, expected a column 'path' of files, or "
            f"'{TEXT}' of texts, and commas between columns"
        )
    return TEXT in columns and "path" not in columns


def texts_in_list(file: Path) -> ListedTexts:
    """Read a table of texts.

    Args:
        file: CSV whose header has `text`, and optionally `label` and `id`; or JSON Lines, an object
            with these keys on each line. Labels are those of a list of files.

    Raises:
        SamplesError: the table cannot be read or has no row; a text or an id is missing, or no
            text; an id stands there twice; some rows have a label or an id and some have none.
    """
    texts: list[str] = []
    names: list[str] = []
    labels: list[str] = []
    lines: list[int] = []
    seen: dict[str, int] = {}
    for line, row in list_rows(file, TEXT, COLUMNS):
        place = f"{file}: line {line}"
        text, name = row.get(TEXT), row.get("id")
        if not isinstance(text, str) or not text.strip():
            found = "no text" if text is None or text == "" else f"text {text!r:.60}"
            raise SamplesError(f"{place}: {found}, expected {COLUMNS}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise SamplesError(
                f"{place}: the text holds half of a surrogate pair, which UTF-8 does not have: "
                "expected whole characters"
            ) from None
        if type(name) not in (int, str, type(None)):
            raise SamplesError(f"{place}: id {name!r:.60}, expected a number or a text")
        name = "" if name is None else str(name).strip()
        label = row["label"]
        for what, value, others in (("id", name, names), ("label", label, labels)):
            if texts and bool(value) != bool(others):
                raise SamplesError(
                    f"{place}: {'an' if value else 'no'} {what}, expected one on every line, or on "
                    "none"
                )
        if name in seen:
            raise SamplesError(
                f"{place}: id {name!r:.60}: stands there twice, first in line {seen[name]}"
            )
        if name:
            seen[name] = line
        texts.append(text)
        lines.append(line)
        names += [name] if name else []
        labels += [label] if label else []
    if not texts:
        raise SamplesError(f"{file}: expected a row for each sample, found none")
    class_names, indices = classes_of_labels(labels)
    return ListedTexts(
        file,
        texts,
        names or [str(number) for number in range(len(texts))],
        lines,
        not names,
        class_names,
        indices,
    )
