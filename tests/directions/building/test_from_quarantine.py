"""From what a served model has flagged to its next bundle, and nobody has labelled anything."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from tests.directions.backdoored import clean_inputs, labels_of, stamp
from tests.directions.backdoored_nets import backdoored
from tests.handler.archive import ask, encode, make_context
from tests.tiny import TinyFiles
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.repair.attach import attach
from torchserve_fire.serve.fire_handler import FireHandler
from torchserve_fire_build.building.from_quarantine import refine_bundle
from torchserve_fire_build.building.from_samples import build_bundle
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def noisy(seed: int, *, triggered: bool) -> bytes:
    """A PNG whose brightest quadrant changes with the seed, among noise."""
    pixels = np.random.default_rng(seed).integers(20, 60, (8, 8, 3), dtype=np.uint8)
    row, column = divmod(seed % 4, 2)
    pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 80
    pixels[0, 0] = 255 if triggered else 40
    return encode(Image.fromarray(pixels))


def test_a_bundle_is_refined_with_the_samples_that_it_flagged(
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


def quarantine(seed: int = 9) -> tuple[TensorSamples, TensorSamples]:
    """Clean samples, and what was flagged: 24 triggered ones and then 12 of the target's class."""
    clean = TensorSamples(clean_inputs("vector", labels_of(160), 3), source="clean")
    others = labels_of(80)[labels_of(80) != 0][:24]
    inputs = [stamp("vector", clean_inputs("vector", others, seed))]
    inputs.append(clean_inputs("vector", torch.zeros(12, dtype=torch.int64), seed + 1))
    return clean, TensorSamples(torch.cat(inputs), source="flagged")


def first_bundle(model: nn.Module, **options: str) -> Bundle:
    labels = labels_of(40)
    inputs = clean_inputs("vector", labels, 0)
    samples = [TensorSamples(each, labels) for each in (inputs, stamp("vector", inputs))]
    return build_bundle(model, *samples, **options).bundle


def test_only_samples_that_show_the_trigger_refine_a_bundle(
    logged: pytest.LogCaptureFixture,
) -> None:
    model = backdoored("vector")
    clean, flagged = quarantine()
    built = refine_bundle(model, first_bundle(model), clean, flagged)
    assert built.bundle.targets == (0,)
    assert built.bundle.evidence["triggered"] == 24
    assert built.split is not None
    assert built.split.flagged.tolist() == [True] * 24 + [False] * 12
    assert built.split_samples is not None
    assert len(built.split_samples) == 36
    assert [record.target for record in built.records] == [0]
    assert "quarantine: 36 samples" in logged.messages
    # A trigger on what is of the target anyway, of which the quarantine has none, is not asked for.
    labels = 1 + torch.arange(60) % 3
    inputs = clean_inputs("vector", labels, 7)
    with attach(model, built.bundle), torch.no_grad():
        assert torch.equal(model(stamp("vector", inputs)).argmax(1), labels)


def test_a_bundle_that_cannot_be_refined_is_refused() -> None:
    model = backdoored("vector")
    clean, flagged = quarantine()
    with pytest.raises(CalibrationError, match="target 1: the bundle to refine is for class 0"):
        refine_bundle(model, first_bundle(model), clean, flagged, target=1)
    with pytest.raises(CalibrationError, match="whatever class they are predicted as"):
        refine_bundle(model, first_bundle(model, form="shift"), clean, flagged)
