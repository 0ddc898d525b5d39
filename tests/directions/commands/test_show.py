import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from tests.handler.bundles import small_bundle
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire_build.commands.main import main


@pytest.fixture
def path(tmp_path):
    save_bundle(small_bundle(), tmp_path / "b.safetensors")
    return tmp_path / "b.safetensors"


def test_for_a_person(path, capsys):
    assert main(["show", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for part in (
        hashlib.sha256(path.read_bytes()).hexdigest(),
        "Net, weights " + "0" * 64,
        "image, 3 x 8 x 8",
        "class 2",
        "kind paired",
        "late (3): detects",
        "projection above 1.5 among those predicted as the target",
        "early (2 x 4 x 4): repairs",
        "shift, strength 1",
        "clamp, strength 0.5",
        "clean_accuracy: 0.75",
        "seed 7",
    ):
        assert part in out


def test_the_target_is_called_by_its_name(path, tmp_path, capsys):
    names = tmp_path / "index_to_name.json"
    names.write_text(json.dumps({"0": "cat", "1": "dog", "2": "cow"}))
    assert main(["show", str(path)]) == 0
    assert "target    class 2 cow\n" in capsys.readouterr().out
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"0": "cat", "1": "dog", "2": "a\nb"}))
    assert main(["show", str(path), "--names", str(other)]) == 0
    assert "target    class 2 a\\nb\n" in capsys.readouterr().out


def test_an_interval_is_shortened(tmp_path, capsys):
    held_out = {"clean_accuracy": {"before": 1.0, "after": 0.75, "interval": [1 / 3, 0.95444]}}
    save_bundle(replace(small_bundle(), held_out=held_out), tmp_path / "b.safetensors")
    assert main(["show", str(tmp_path / "b.safetensors")]) == 0
    assert "before 1, after 0.75, interval [0.3333, 0.9544]" in capsys.readouterr().out


def test_a_bundle_from_anywhere_forges_no_line_and_steers_no_terminal(tmp_path, capsys):
    forged = {"kind": "x\x1b[2J\nsha256: 0", "a\nb": {"c\td": "\x07"}}
    bundle = replace(small_bundle(), evidence=forged, held_out=forged)
    save_bundle(bundle, tmp_path / "b.safetensors")
    assert main(["show", str(tmp_path / "b.safetensors")]) == 0
    out, _ = capsys.readouterr()
    assert all(line.isprintable() for line in out.split("\n"))
    assert r"x\x1b[2J\nsha256: 0" in out
    assert not any(line.startswith("sha256") for line in out.split("\n"))


def test_for_a_program(path, capsys):
    assert main(["show", str(path), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert values["format_version"] == 4
    assert values["target"] == 2
    assert [layer["role"] for layer in values["layers"]] == ["detects", *["repairs"] * 4]
    assert values["input"]["shape"] == [3, 8, 8]


def test_whoever_reads_it_may_stop_early(path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [
        sys.executable,
        "-m",
        "torchserve_fire_build.commands.main",
        "show",
        str(path),
        "--json",
    ]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_repairs_of_several_targets(tmp_path, capsys):
    weight = torch.eye(2)
    layers = [
        Layer("late", (2,), Detection(weight[t], 1, True), Shift(weight[t], 1), target=t)
        for t in (1, 0)
    ]
    figures = {"clean_accuracy": {"before": 0.5, "after": 0.25}, "target": 1}
    held_out = {"folds": 4, "targets": {"0": figures, "1": figures}}
    evidence = {"clean": 8, "targets": {"0": {"detector": "whitened"}}}
    bundle = replace(
        small_bundle(), layers=tuple(layers), target=1, held_out=held_out, evidence=evidence
    )
    save_bundle(bundle, tmp_path / "b.safetensors")
    assert main(["show", str(tmp_path / "b.safetensors")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "target    classes 1, 0, each of a trigger of its own" in lines
    assert "layer     late (2): both, for class 1" in lines
    assert "layer     late (2): both, for class 0" in lines
    assert "evidence  clean 8, targets (0 (detector whitened))" in lines
    measured = lines[lines.index("          targets:") :]
    assert measured[1:3] == [
        "            0:",
        "              clean_accuracy: before 0.5, after 0.25",
    ]


def test_the_name_does_not_matter(path, capsys):
    other = path.with_name("another")
    other.write_bytes(path.read_bytes())
    outputs = []
    for file in (path, other):
        assert main(["show", str(file)]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    "damage", ["truncated", "appended", "one bit", "pickle", "empty", "folder"]
)
def test_a_damaged_file(path, tmp_path, capsys, damage):
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[:-1])
    elif damage == "appended":
        path.write_bytes(data + b"\0")
    elif damage == "one bit":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "pickle":
        torch.save({"a": torch.zeros(1)}, path)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path = tmp_path
    assert main(["show", str(path)]) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert path.name in err
