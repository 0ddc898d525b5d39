"""A job for a process of its own: what it is to do, as a file of JSON, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torchserve_fire.errors import BundleError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.write_file import write_file

from ..source.model_source import ModelSource
from ..source.source_files import SourceFiles

JUDGE, REFINE = "judge", "refine"


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        step: `JUDGE` or `REFINE`.
        folder: where the files lie.
        names: of the files.
        result: the file to write what comes of it to, JSON.
        model: the model; None to group by looks alone.
        bundle: of the model; None: the one in its archive.
        clean: clean samples to refine with; None to judge.
        new_bundle: the file to write the refined bundle to; None to judge.
    """

    step: str
    folder: Path
    names: Sequence[str]
    result: Path
    model: SourceFiles | None = None
    bundle: Path | None = None
    clean: Path | None = None
    new_bundle: Path | None = None

    def write(self, file: Path) -> None:
        """Write it to a file.

        Raises:
            OutputError: it cannot be written.
        """
        write_file(json.dumps(asdict(self), default=str).encode(), file)


def read_job(file: Path) -> Job:
    """Read a job that `Job.write` has written."""
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    model: dict[str, Any] | None = values.pop("model")
    for name in ("folder", "result", "bundle", "clean", "new_bundle"):
        values[name] = _path(values[name])
    if model is None:
        return Job(**values)
    device = model.pop("device")
    files = {name: _path(value) for name, value in model.items()}
    return Job(model=SourceFiles(device=device, **files), **values)


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


def run_job(job: Job) -> None:
    """Do a job, and write what comes of it.

    Raises:
        FireError: it cannot be done; then nothing is written.
    """
    from .judge import judge_by_eye, judge_with_model

    result: dict[str, Any]
    if job.model is None:
        result = judge_by_eye(job.folder, job.names)
    else:
        source, bundle = _open(job.model, job.bundle)
        if job.clean is None or job.new_bundle is None:
            result = judge_with_model(source, bundle, job.folder, job.names)
        else:
            from torchserve_fire.format.bundle_file import save_bundle

            from .refine import refine_from_kept

            refined = refine_from_kept(source, bundle, job.clean, job.folder, job.names)
            saved = save_bundle(refined.bundle, job.new_bundle)
            result = {**refined.comparison, "old": bundle.digest, "new": saved.digest}
    write_file(json.dumps(result, allow_nan=False).encode(), job.result)


def _open(model: SourceFiles, file: Path | None) -> tuple[ModelSource, Bundle]:
    """Load a model, and its bundle; that of its archive where no file is given.

    Raises:
        FireError: one of them cannot be loaded, or they do not fit each other.
    """
    from torchserve_fire.format.bundle_file import load_bundle

    from ..source.archive import bundle_of

    source = model.open()
    file = file or bundle_of(source)
    if file is None:
        raise BundleError(f"{source.where}: holds no direction bundle, expected --bundle")
    bundle = load_bundle(file)
    source.check_fits(bundle, str(file))
    return source, bundle
