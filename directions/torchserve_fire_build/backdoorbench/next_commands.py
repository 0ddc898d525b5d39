"""The commands that go on from what was imported."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ..common.names import NAMES_FILE
from .import_result import TEST, Imported
from .write_model import CONFIG, PLAIN_CONFIG, WEIGHTS
from .write_samples import CLEAN, TRIGGERED


def next_commands(imported: Imported) -> list[str]:
    """Return lines with the commands, each of which can be given as it is."""
    folder = imported.files.folder
    unpaired = ["--unpaired"] if imported.build.no_pairs or imported.test.no_pairs else []
    bundle = folder / "bundle.safetensors"
    old, new = (folder / f"{imported.name}-{version}.mar" for version in ("1.0", "2.0"))
    model = _model(imported, CONFIG)
    return [
        "is it backdoored? to be asked of clean images alone:",
        _command("inspect", *model, "--clean", folder / CLEAN),
        "a bundle, and what it does on images that it was not built from:",
        _command("build", *model, *_samples(folder), *unpaired, "--output", bundle),
        _command("evaluate", *model, "--bundle", bundle, *_samples(folder / TEST), *unpaired),
        "or an archive as it is, and the repaired one:",
        _command(
            "package",
            *("--model-name", imported.name, "--version", "1.0"),
            *_model(imported, PLAIN_CONFIG),
            *("--extra-files", folder / NAMES_FILE, "--export-path", folder),
        ),
        _command("repair", old, *_samples(folder), *unpaired, "--output", new),
    ]


def _model(imported: Imported, config: str) -> Sequence[object]:
    folder = imported.files.folder
    return (
        *("--model-file", imported.files.model_file),
        *("--serialized-file", folder / WEIGHTS),
        *("--config-file", folder / config),
    )


def _samples(folder: Path) -> Sequence[object]:
    return ("--clean", folder / CLEAN, "--triggered", folder / TRIGGERED)


def _command(*words: object) -> str:
    return "    " + shlex.join(["torchserve-fire", *map(str, words)])
