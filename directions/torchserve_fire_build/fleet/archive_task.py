"""Inspecting one archive of many: what is asked, and what is answered.

Both can be pickled, which a model cannot: so it is loaded where it is inspected.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torchserve_fire.errors import FireError, first_line

from ..common.budget import Budget
from ..common.code_digest import describe_code
from ..inspection.inspect_model import inspect_model
from ..inspection.methods import InspectionSettings
from ..inspection.open_clean import open_clean
from ..samples.content_digest import content_digest
from ..source.archive import open_archive


@dataclass(frozen=True)
class ArchiveTask:
    """An archive, and how it is inspected.

    Attributes:
        archive: a file, or the folder of an unpacked one.
        clean: clean samples; None for methods that do without.
        methods: names in `inspection.methods.INSPECTION_METHODS`.
        settings: of the methods.
        budget: seconds that they may take in all; None for no limit.
        seed: of the random numbers.
        device: as `find_device` takes it.
    """

    archive: Path
    clean: Path | None
    methods: tuple[str, ...]
    settings: InspectionSettings
    budget: float | None
    seed: int
    device: str

    def digest(self, clean_digest: str) -> str:
        """Return a digest of everything that decides what the inspection finds.

        Args:
            clean_digest: of the clean samples, which many tasks share.

        Raises:
            OSError: the archive cannot be read.
        """
        settings = asdict(self.settings)
        # Where steps are kept changes nothing of what is found, and names are of the archive.
        del settings["cache"], settings["label"]
        said = {
            **describe_code(),
            "archive": content_digest(self.archive),
            "clean": clean_digest,
            "inspection": [self.methods, settings, self.budget, self.seed, self.device],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class ArchiveResult:
    """What the inspection of an archive came to.

    Attributes:
        found: whether a backdoor was found; None if that could not be told.
        suspects: the classes that it leads to, the most suspicious first.
        named: what each of them is called, by its index and by its name where that is known.
        probability: of a backdoor, by the first method that computes one; None without one.
        seconds: that it took, with loading the model.
        failure: why there is no finding; None if there is one.
        methods: what each method found, as JSON values.
    """

    found: bool | None
    suspects: tuple[int, ...] = ()
    named: tuple[str, ...] = ()
    probability: float | None = None
    seconds: float = 0.0
    failure: str | None = None
    methods: tuple[dict[str, Any], ...] = ()


def inspect_archive(task: ArchiveTask) -> ArchiveResult:
    """Inspect an archive; whatever goes wrong with it is told in the result."""
    start = time.monotonic()
    budget = Budget(task.budget)
    try:
        source = open_archive(task.archive, task.device)
        findings = inspect_model(
            source.loaded.model,
            open_clean(source, task.clean, task.methods),
            methods=task.methods,
            settings=task.settings,
            budget=budget,
            seed=task.seed,
            names_file=source.names_file,
        )
    except FireError as error:
        failure = str(error)
    except Exception as error:  # One model's fault is none of the others'.
        failure = f"stopped by {type(error).__name__}: {first_line(error)}"
    else:
        methods = tuple(run.to_json() for run in findings.runs)
        probabilities = [m["probability"] for m in methods if m["probability"] is not None]
        return ArchiveResult(
            found=findings.found,
            suspects=tuple(findings.suspects),
            named=tuple(map(findings.label, findings.suspects)),
            probability=next(iter(probabilities), None),
            seconds=time.monotonic() - start,
            methods=methods,
        )
    return ArchiveResult(None, seconds=time.monotonic() - start, failure=failure)
