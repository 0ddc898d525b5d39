import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from torchserve_fire.errors import ModelError
from torchserve_fire.model.checkpoint import read_checkpoint

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}


def touch(path: Path) -> None:
    path.touch()


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (touch, (self.path,))


class ByMethod(Malicious):
    def __reduce__(self):
        return (Path.touch, (self.path,))


class Listed(list):
    """A list of a class of its own, as omegaconf has."""


def keys_of(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    return list(read_checkpoint(tmp_path / "w.pth").dictionaries)


def refusal(path):
    with pytest.raises(ModelError) as raised:
        read_checkpoint(path)
    message = str(raised.value)
    assert message.splitlines() == [message]
    assert path.name in message
    return message


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (WEIGHTS, [""]),
        ({}, [""]),
        ({**WEIGHTS, "epoch": 3}, [""]),
        ({"net": WEIGHTS, "acc": 0.9, "epoch": 3}, ["['net']"]),
        ({"state_dict": WEIGHTS, "best": torch.tensor(1.0)}, ["", "['state_dict']"]),
        ({"models": [WEIGHTS, WEIGHTS]}, ["['models'][0]", "['models'][1]"]),
        ({"a": {"b": {"c": WEIGHTS}}}, ["['a']['b']['c']"]),
        ({"model": WEIGHTS, "optimizer": {"state": {}}, "none": None}, ["['model']"]),
    ],
)
def test_every_dictionary_of_tensors_has_its_key(tmp_path, content, keys):
    assert keys_of(tmp_path, content) == keys


def test_what_a_training_run_leaves_beside_weights_is_not_unpickled(tmp_path):
    path = tmp_path / "w.pth"
    beside = {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.9), "at": tmp_path}
    torch.save({"model": WEIGHTS, **beside}, path)
    read = read_checkpoint(path)
    assert torch.equal(read.dictionaries["['model']"]["fc.weight"], WEIGHTS["fc.weight"])
    assert "argparse.Namespace" in read.left_out
    # Nothing is trusted afterwards that was not before.
    with pytest.raises(pickle.UnpicklingError, match="Namespace"):
        torch.load(path, weights_only=True)


def test_what_stands_in_the_way_is_named_with_the_way_out(tmp_path):
    torch.save({"model": WEIGHTS, "sizes": Listed([1, 2])}, tmp_path / "w.pth")
    message = refusal(tmp_path / "w.pth")
    assert "test_checkpoint.Listed stands in the way" in message
    assert "torch.load('w.pth', weights_only=False)['state_dict']" in message


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda model: model, "(torch.nn.modules.linear.Linear)"),
        (lambda model: {"model": model, "epoch": 3}, "'model' is a whole pickled object"),
    ],
)
def test_a_whole_pickled_model_is_refused_with_the_way_out(tmp_path, wrap, said):
    torch.save(wrap(torch.nn.Linear(2, 2)), tmp_path / "w.pth")
    message = refusal(tmp_path / "w.pth")
    assert said in message
    assert ".state_dict(), 'weights.pth')" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "it holds a list"),
        (torch.zeros(3), "it holds a Tensor"),
        (5, "it holds a int"),
        ({"a": 1}, "no dictionary of tensors is in it, but 'a'"),
        ({"a": {}}, "but 'a'"),
    ],
)
def test_what_holds_no_weights_is_named(tmp_path, content, said):
    torch.save(content, tmp_path / "w.pth")
    assert said in refusal(tmp_path / "w.pth")


def test_nothing_is_run_by_reading(tmp_path):
    trace = tmp_path / "executed"
    path = tmp_path / "w.pth"
    with path.open("wb") as file:
        pickle.dump(Malicious(trace), file)
    refusal(path)
    for kind in (Malicious, ByMethod):
        for content in (kind(trace), {"a": kind(trace)}, [kind(trace)]):
            torch.save(content, path)
            refusal(path)
    torch.save({"a": Malicious(trace), "model": WEIGHTS}, path)
    read_checkpoint(path)
    assert not trace.exists()


def test_torchscript_is_refused_with_the_way_out(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), tmp_path / "w.pt")
    message = refusal(tmp_path / "w.pt")
    assert "a TorchScript archive" in message
    assert "model file and its state_dict" in message


def test_a_missing_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "gone.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_damaged_weights(tmp_path, name):
    torch.save(WEIGHTS, tmp_path / "w.pth")
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    whole = (tmp_path / name).read_bytes()
    for data in (b"", b"\x80", whole[:20], whole[: len(whole) // 2], b"x" * 100):
        (tmp_path / name).write_bytes(data)
        refusal(tmp_path / name)
