"""Samples that are rows of a table, in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.table import Table
from torchserve_fire.model.request_body import RequestBody
from torchserve_fire.model.table_row import CellError, Row, row_to_sample

from ..common.errors import SamplesError
from .tensor_samples import TensorSamples


class TableSamples(TensorSamples):
    """Rows of a table, prepared by the same code as requests to the server.

    Each is (width of the table,) float32.

    Args:
        rows: checked.
        places: where each stands, for messages.
        table: the columns.
        source: the file, or the folder, that they come from.
        names: what each is called; None to number them.
        class_names: the class of each by its name; None if that is unknown.
        labels: the class of each by its index, (N,) int64; None if that is unknown.

    Raises:
        SamplesError: a row holds a number that, as prepared, float32 cannot hold.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        places: Sequence[str],
        table: Table,
        *,
        source: Path,
        names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        labels: Tensor | None = None,
    ) -> None:
        samples = []
        for row, place in zip(rows, places, strict=True):
            try:
                samples.append(row_to_sample(row, table))
            except CellError as error:
                raise SamplesError(f"{place}: {error}, found {error.found}") from None
        super().__init__(
            torch.stack(samples),
            labels,
            source=source,
            names=names,
            description=InputDescription("table", (table.width,), table=table),
        )
        self.class_names = class_names
        self._rows = rows

    def body(self, index: int) -> RequestBody:
        """Return the body of a request with a row: a record, as JSON."""
        return RequestBody(json.dumps(self._rows[index]).encode(), ".json")
