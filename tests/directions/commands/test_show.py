import hashlib
import json

import pytest
import torch

from directions.commands.main import main
from directions.save_bundle import save_bundle
from tests.handler.bundles import small_bundle


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
        "late (3): tells",
        "projection above 1.5 among those predicted as the target",
        "early (2 x 4 x 4): repairs",
        "shift, strength 1",
        "clamp, strength 0.5",
        "clean_accuracy: 0.75",
        "seed 7",
    ):
        assert part in out


def test_for_a_program(path, capsys):
    assert main(["show", str(path), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert values["format_version"] == 1
    assert values["target"] == 2
    assert [layer["role"] for layer in values["layers"]] == ["tells", "repairs", "repairs"]
    assert values["input"]["shape"] == [3, 8, 8]


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
    assert main(["show", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert path.name in err
