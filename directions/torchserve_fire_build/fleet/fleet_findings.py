"""The findings on a fleet of archives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.exit_status import ALARM, DONE, UNDECIDED, status_of_finding
from ..common.text_table import text_table
from ..inspection.findings import WORDS
from .archive_task import ArchiveResult

COLUMNS = ("archive", "verdict", "probability", "class", "seconds")

FAILED = "failed"

CLASSES_SHOWN = 3
"""The most suspects that a row names."""

WORST_LAST = (DONE, UNDECIDED, ALARM)
"""Exit statuses: that nothing can be told is worse than nothing found, a backdoor is the worst."""


@dataclass(frozen=True)
class FleetFindings:
    """What was found in each archive.

    Attributes:
        archives: in the order in which they are shown.
        results: of each.
    """

    archives: Sequence[Path]
    results: Sequence[ArchiveResult]

    @property
    def status(self) -> int:
        """The exit status of the worst finding; of an archive that failed, nobody can tell."""
        return max(
            (status_of_finding(result.found) for result in self.results), key=WORST_LAST.index
        )

    def table(self) -> list[str]:
        """Return lines to print: a row for each archive, why some have no verdict, and the sum."""
        pairs = list(zip(self.archives, self.results, strict=True))
        cells = [(str(archive), *cells_of(result)) for archive, result in pairs]
        reasons = [
            # Most messages name it themselves.
            reason if reason.startswith(str(archive)) else f"{archive}: {reason}"
            for archive, result in pairs
            for reason in _reasons(result)
        ]
        return [*text_table(COLUMNS, cells), *reasons, self._in_words()]

    def to_json(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {
            "archives": [
                {
                    "archive": str(archive),
                    "found": result.found,
                    "suspects": list(result.suspects),
                    "named": list(result.named),
                    "probability": result.probability,
                    "seconds": round(result.seconds, 1),
                    "failure": result.failure,
                    "methods": list(result.methods),
                }
                for archive, result in zip(self.archives, self.results, strict=True)
            ]
        }

    def _in_words(self) -> str:
        found = [result.found for result in self.results]
        failed = sum(result.failure is not None for result in self.results)
        archives = "1 archive" if len(found) == 1 else f"{len(found)} archives"
        return (
            f"{archives}: {found.count(True)} look backdoored, nothing found in "
            f"{found.count(False)}, could not tell of {found.count(None) - failed}, {failed} failed"
        )


def cells_of(result: ArchiveResult) -> tuple[str, str, str, str]:
    """Return the verdict, the probability, the suspects and the seconds as texts."""
    verdict = WORDS[result.found] if result.failure is None else FAILED
    suspects = ", ".join(result.named[:CLASSES_SHOWN])
    if len(result.named) > CLASSES_SHOWN:
        suspects += ", ..."
    probability = "-" if result.probability is None else f"{result.probability:.1%}"
    return verdict, probability, suspects or "-", f"{result.seconds:.0f}"


def _reasons(result: ArchiveResult) -> list[str]:
    """Return why there is no verdict; nothing where there is one."""
    if result.failure is not None:
        return [result.failure]
    if result.found is not None:
        return []
    # What would tell is a method's last note.
    return [f"{method['method']}: {method['notes'][-1]}" for method in result.methods]
