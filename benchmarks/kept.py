"""Results in JSON files; those of many victims in one, victim by victim."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import check_writable, write_file

OLD_NAMES = {
    "tells": "detects",
    "teller": "detector",
    "told": "logged",
    "clean_pool_told": "nothing_in_clean_pool",
    "benign_model_told": "nothing_in_benign_model",
}
"""What figures were called when some of the committed results were measured, and are now."""


def read_results(file: Path) -> Any:
    """Read results from a JSON file, by their names of today."""

    def renamed(values: dict[str, Any]) -> dict[str, Any]:
        return {OLD_NAMES.get(name, name): value for name, value in values.items()}

    return json.loads(file.read_text(), object_hook=renamed)


def write_json(value: Any, file: Path) -> None:
    """Write results, in the form in which they are committed."""
    write_file((json.dumps(value, indent=1, sort_keys=True) + "\n").encode(), file)


class Kept:
    """Rows of results, victim by victim, in a file that is written whenever some are added.

    Args:
        file: a JSON list of rows, each with its `victim`; it need not exist.

    Raises:
        SystemExit: the file cannot be written.
    """

    def __init__(self, file: Path) -> None:
        try:
            check_writable(file)
        except FireError as error:
            raise SystemExit(str(error)) from None
        self._file = file
        self.rows: list[Mapping[str, Any]] = json.loads(file.read_text()) if file.exists() else []

    def replace(self, victim: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put rows in the place of what a victim had, and write the file."""
        self.rows = [row for row in self.rows if row["victim"] != victim] + list(rows)
        write_json(self.rows, self._file)
