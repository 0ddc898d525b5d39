"""From what a served model has flagged to its next bundle, and nobody has labelled anything."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.handler.archive import ask, encode, make_context
from tests.tiny import TinyFiles
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.serve.fire_handler import FireHandler
from torchserve_fire_build.commands.main import main


def noisy(seed: int, *, triggered: bool) -> bytes:
    """A PNG whose brightest quadrant changes with the seed, among noise."""
    pixels = np.random.default_rng(seed).integers(20, 60, (8, 8, 3), dtype=np.uint8)
    row, column = divmod(seed % 4, 2)
    pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 80
    pixels[0, 0] = 255 if triggered else 40
    return encode(Image.fromarray(pixels))


def test_what_was_flagged_makes_a_bundle_and_refines_it(
    tmp_path: Path, tiny: TinyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, kept, clean = (tmp_path / name for name in ("archive", "kept", "clean"))
    for folder in (archive, clean):
        folder.mkdir()
    shutil.copy(tiny.bundle, archive / BUNDLE_FILE)
    shutil.copy(tiny.model_file, archive)
    shutil.copy(tiny.serialized_file, archive)
    config = tiny.config(tmp_path)
    values = yaml.safe_load(config.read_text())
    values["handler"]["quarantine"] = {"folder": str(kept)}
    manifest = {"modelFile": tiny.model_file.name, "serializedFile": tiny.serialized_file.name}
    context = make_context(archive, values, **manifest)
    service = FireHandler()
    service.initialize(context)
    bodies = [{"body": noisy(seed, triggered=seed % 2 == 1)} for seed in range(120)]
    for start in range(0, len(bodies), 8):
        ask(service, context, bodies[start : start + 8])
    service._watch._quarantine.finish()
    assert len(list((kept / "m").iterdir())) == 60

    for seed in range(200, 280):
        (clean / f"{seed}.png").write_bytes(noisy(seed, triggered=False))
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    command = ["build", "--model-file", str(tiny.model_file), "--config-file", str(config)]
    command += ["--serialized-file", str(tiny.serialized_file), "--clean", str(clean)]
    command += ["--triggered", str(kept / "m")]
    for more in (["--output", str(first)], ["--output", str(second), "--refine", str(first)]):
        assert main([*command, *more]) == 0, capsys.readouterr().err
    assert load_bundle(first).target == load_bundle(second).target == 0
