"""`--device`: named, it is the one that is taken, and one that is not there is told in a line."""

import pytest
import torch

from tests.directions.backdoored import write_images
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.commands.main import main


@pytest.fixture
def samples(tmp_path, tiny_model):
    """The flags of the model and of its samples."""
    labels = [0, 1, 2, 3] * 5
    clean = write_images(tmp_path / "clean", labels)
    triggered = write_images(tmp_path / "triggered", labels, triggered=True)
    return [*tiny_model, "--clean", str(clean), "--triggered", str(triggered)]


def test_a_bundle_built_on_the_cpu_by_name_is_that_built_by_default(tmp_path, monkeypatch, samples):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    files = [tmp_path / "auto.safetensors", tmp_path / "cpu.safetensors"]
    for file, device in zip(files, ([], ["--device", "cpu"]), strict=True):
        command = ["build", *samples, "--augment", "none", "--output", str(file), *device]
        assert main(command) == 0
    assert load_bundle(files[0]).digest == load_bundle(files[1]).digest
    assert main(["evaluate", *samples, "--bundle", str(files[0]), "--device", "cpu"]) == 0


@pytest.mark.parametrize("command", ["build", "evaluate", "inspect", "sanitize", "screen"])
def test_a_device_that_is_not_there_is_told_in_a_line(
    tmp_path, capsys, monkeypatch, tiny, tiny_model, samples, command
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    clean = samples[len(tiny_model) : len(tiny_model) + 2]
    flags = {
        "build": [*samples, "--output", str(tmp_path / "b.safetensors")],
        "evaluate": [*samples, "--bundle", str(tiny.bundle)],
        "inspect": [*tiny_model, *clean],
        "sanitize": [
            *tiny_model,
            *clean,
            "--method",
            "prune",
            "--output",
            str(tmp_path / "new.pth"),
        ],
        "screen": [*tiny_model, *clean, clean[1]],
    }
    assert main([command, *flags[command], "--device", "cuda:3"]) == 64
    err = capsys.readouterr().err
    assert err.startswith(f"torchserve-fire {command}: device cuda:3: not here, where torch ")
    assert "finds cpu: name one of these, or auto" in err
    assert err.count("\n") == 1
