"""A bundle of the tiny model that can be refined: one that was built, and for one target."""

from __future__ import annotations

from pathlib import Path

from tests.directions.building.test_from_quarantine import noisy
from tests.tiny import TinyFiles
from torchserve_fire_build.commands.main import run_command


def build_first_bundle(tiny: TinyFiles, config: Path, folder: Path) -> Path:
    """Build a bundle from samples of its own, below a folder."""
    for kind, first in (("clean", 1000), ("triggered", 2000)):
        (folder / kind).mkdir(parents=True)
        for seed in range(first, first + 60):
            body = noisy(seed, triggered=kind == "triggered")
            (folder / kind / f"{seed}.png").write_bytes(body)
    words = ["--model-file", tiny.model_file, "--serialized-file", tiny.serialized_file]
    words += ["--config-file", config, "--clean", folder / "clean", "--augment", "none"]
    words += ["--triggered", folder / "triggered", "--output", folder / "first.safetensors"]
    assert run_command(["build", *map(str, words)]) == 0
    return folder / "first.safetensors"
