"""What repairing an archive would do, in words."""

from __future__ import annotations

from pathlib import Path

from ..deployment.archive.repaired_archive import added_files
from ..samples.evidence import Evidence
from ..source.archive import entry_of_source
from ..source.model_source import ModelSource
from .held_out import hold_out_for_proof


def planned(source: ModelSource, evidence: Evidence, output: Path, version: str) -> list[str]:
    """Return what would be built from what, and which files of the archive would be others.

    Raises:
        FireError: the samples are too few.
    """
    archive = source.unpacked()
    halves = hold_out_for_proof(evidence, 0)
    taken = evidence.clean.description
    shape = " x ".join(map(str, taken.shape))
    built, proved = ([len(samples) for samples in half] for half in (halves.build, halves.proof))
    return [
        f"archive: {archive.name} {archive.version}, handler {archive.handler}",
        f"model: {source.loaded.class_name}, which takes {taken.kind} of {shape}",
        evidence.describe(),
        f"built from: {built[0]} clean and {built[1]} triggered samples",
        f"proved on: {proved[0]} clean and {proved[1]} triggered samples, in worker processes",
        f"new or changed in it: {', '.join(added_files(entry_of_source(source)))}",
        f"would write: {output}, version {version}; nothing was done",
    ]
