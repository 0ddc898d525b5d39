"""A case: a plain archive with a backdoored model, samples to repair it from, and test samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_archiver.model_archiver import ModelArchiver
from model_archiver.model_archiver_config import ModelArchiverConfig

from torchserve_fire_build.deployment.archive.load_as_worker import Body

MODEL = "net"
VERSION = "1.0"


@dataclass(frozen=True)
class Sample:
    """A sample in the form in which clients send it, clean and triggered.

    Attributes:
        clean: its bytes.
        triggered: the bytes of the same with the trigger.
        label: its true class.
    """

    clean: bytes
    triggered: bytes
    label: int


@dataclass(frozen=True)
class Case:
    """What the way to a repaired archive is gone with.

    Attributes:
        name: for the results.
        archive: the plain archive, `net-1.0.mar`.
        clean: folder of clean samples to build from, one subfolder per class.
        triggered: the same samples with the trigger, of the classes that are not the target.
        test: samples that are in neither.
        classes: names of the classes, as answers have them.
        target: the class that the trigger leads to.
        suffix: of the samples as files.
        media_type: of them as bodies of requests.
        called: returns the name of the class that an answer names.
    """

    name: str
    archive: Path
    clean: Path
    triggered: Path
    test: Sequence[Sample]
    classes: Sequence[str]
    target: int
    suffix: str
    media_type: str
    called: Callable[[Any], str]

    @property
    def attackable(self) -> list[Sample]:
        """The test samples whose class is not the target."""
        return [sample for sample in self.test if sample.label != self.target]

    def body(self, contents: bytes) -> Body:
        """Return a sample's bytes as the body of a request."""
        return Body(contents, self.media_type)

    def class_of(self, answer: Any) -> int:
        """Return the class that an answer names."""
        return list(self.classes).index(self.called(answer))


def write_samples(
    samples: Sequence[Sample], classes: Sequence[str], target: int, suffix: str, folder: Path
) -> tuple[Path, Path]:
    """Write samples into two folders, `clean` and `triggered`, pairs under the same names.

    Of the target's samples only the clean ones are written.
    """
    for index, sample in enumerate(samples):
        for kind in ("clean", "triggered"):
            place = folder / kind / classes[sample.label]
            place.mkdir(parents=True, exist_ok=True)
            if kind == "clean" or sample.label != target:
                (place / f"{index}{suffix}").write_bytes(getattr(sample, kind))
    return folder / "clean", folder / "triggered"


def pack(
    folder: Path,
    *,
    handler: str,
    classes: Sequence[str] | None = None,
    model_file: Path | None = None,
    weights: Path | None = None,
    extra_files: Sequence[Path] = (),
) -> Path:
    """Pack an archive with torch-model-archiver; return `net-1.0.mar` in the folder.

    Args:
        folder: for the archive.
        handler: a handler's file, or the name of one of TorchServe's own.
        classes: names of the classes, for an index_to_name.json; None for an archive without one.
        model_file: file of the model's class.
        weights: file of its state_dict.
        extra_files: what else is packed.
    """
    extra = [str(file) for file in extra_files]
    if classes is not None:
        names = folder / "index_to_name.json"
        names.write_text(json.dumps({str(index): name for index, name in enumerate(classes)}))
        extra.append(str(names))
    ModelArchiver.generate_model_archive(
        ModelArchiverConfig(
            model_name=MODEL,
            handler=handler,
            version=VERSION,
            serialized_file=None if weights is None else str(weights),
            model_file=None if model_file is None else str(model_file),
            extra_files=",".join(extra) or None,
            export_path=str(folder),
        )
    )
    return (folder / f"{MODEL}.mar").rename(folder / f"{MODEL}-{VERSION}.mar")
