import hashlib
import json
import logging
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from torchserve_fire.errors import ModelError
from torchserve_fire.model.load_model import load_model

NET = """
import torch
from torch import nn
from torch.nn import Linear


class Net(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.fc = Linear(3, classes)

    def forward(self, x):
        return self.fc(x)
"""
HELPERS = """

class Block(nn.Module):
    def __init__(self, inputs):
        super().__init__()


class Wide(Net):
    def __init__(self):
        super().__init__(classes=5)


class NotAModule:
    pass


class Broken(nn.Module):
    def __init__(self):
        raise OSError("broken")


Alias = Net
"""
TWIN = """

class Twin(Net):
    pass
"""
WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    (tmp_path / "net.py").write_text(NET)
    torch.save(WEIGHTS, tmp_path / "w.pth")
    return tmp_path / "net.py", tmp_path / "w.pth"


def test_the_weights_are_loaded_and_the_model_is_ready(files):
    loaded = load_model(*files)
    assert loaded.class_name == "Net"
    assert not loaded.model.training
    assert loaded.weights_sha256 == hashlib.sha256(files[1].read_bytes()).hexdigest()
    assert loaded.model(torch.ones(1, 3)).tolist() == [[4, 13]]


def test_weights_in_safetensors(files, tmp_path):
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    loaded = load_model(files[0], tmp_path / "w.safetensors")
    assert loaded.model(torch.ones(1, 3)).tolist() == [[4, 13]]


def test_the_class_is_found_among_helpers(files):
    files[0].write_text(NET + HELPERS)
    assert load_model(*files).class_name == "Net"


def test_several_classes_that_fit_have_to_be_told_apart(files):
    files[0].write_text(NET + TWIN)
    with pytest.raises(ModelError, match=r"Net, Twin all take the weights w.pth.*model_class"):
        load_model(*files)
    assert load_model(*files, "Twin").class_name == "Twin"


def test_a_class_that_is_not_there(files):
    with pytest.raises(ModelError, match="expected the class Other, found Net"):
        load_model(*files, "Other")
    with pytest.raises(ModelError, match="expected the class Linear, found Net"):
        load_model(*files, "Linear")


def test_no_class_fits(files):
    files[0].write_text(NET + HELPERS)
    torch.save({"fc.weight": torch.zeros(7, 3)}, files[1])
    with pytest.raises(ModelError) as raised:
        load_model(*files)
    message = str(raised.value)
    assert message.splitlines() == [message]
    assert (
        "Net: the weights lack 'fc.bias', have 'fc.weight' in shape (7, 3), in the class (2, 3)"
        in message
    )
    assert "Block is built with inputs: give them defaults" in message
    assert "Broken cannot be built: broken" in message
    with pytest.raises(ModelError, match="Wide"):
        load_model(*files, "Wide")


def test_missing_files(files, tmp_path):
    with pytest.raises(ModelError, match=r"gone\.py: no such file"):
        load_model(tmp_path / "gone.py", files[1])
    with pytest.raises(ModelError, match=r"gone\.pth: no such file"):
        load_model(files[0], tmp_path / "gone.pth")


def test_a_model_file_may_be_called_like_a_library_and_import_its_neighbour(tmp_path):
    (tmp_path / "helpers_of_json.py").write_text("SIZE = 3\n")
    (tmp_path / "json.py").write_text("from helpers_of_json import SIZE\n" + NET)
    torch.save(WEIGHTS, tmp_path / "w.pth")
    import json

    before = list(sys.path)
    assert load_model(tmp_path / "json.py", tmp_path / "w.pth").class_name == "Net"
    assert sys.modules["json"] is json
    assert sys.path == before


def test_what_was_taken_of_a_checkpoint_is_said_in_one_line(files, caplog):
    checkpoint = {"net": {f"module.{name}": value for name, value in WEIGHTS.items()}, "acc": 0.9}
    torch.save(checkpoint, files[1])
    with caplog.at_level(logging.INFO, "torchserve_fire.model"):
        loaded = load_model(*files)
    assert loaded.model(torch.ones(1, 3)).tolist() == [[4, 13]]
    assert loaded.weights_sha256 == hashlib.sha256(files[1].read_bytes()).hexdigest()
    assert caplog.messages == [f"{files[1]}: the weights are ['net'] with the prefix 'module.'"]


def test_nothing_is_said_of_plain_weights(files, caplog):
    with caplog.at_level(logging.INFO, "torchserve_fire.model"):
        load_model(*files)
    assert not caplog.messages


def test_a_class_around_another_is_told_from_it_by_the_names(files):
    files[0].write_text(
        f"{NET}\n\nclass Wrapped(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.net = Net()\n"
        "    def forward(self, x):\n        return self.net(x)\n"
    )
    torch.save({f"net.{name}": value for name, value in WEIGHTS.items()}, files[1])
    assert load_model(*files).class_name == "Wrapped"
    torch.save(WEIGHTS, files[1])
    assert load_model(*files).class_name == "Net"


def test_a_class_may_return_what_a_library_builds(files):
    files[0].write_text(
        "from torch import nn\nfrom torch.nn import Sequential, Linear\n"
        "class Net(nn.Module):\n    def __new__(cls):\n        return Sequential(Linear(3, 2))\n"
    )
    torch.save({"0.weight": WEIGHTS["fc.weight"], "0.bias": WEIGHTS["fc.bias"]}, files[1])
    loaded = load_model(*files)
    assert loaded.class_name == "Sequential"
    assert loaded.model(torch.ones(1, 3)).tolist() == [[4, 13]]


def test_weights_in_several_files_have_no_digest_of_their_file(files, tmp_path):
    for name, tensor in WEIGHTS.items():
        save_file({name: tensor}, tmp_path / f"{name}.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: f"{name}.safetensors" for name in WEIGHTS}}))
    loaded = load_model(files[0], index)
    assert loaded.model(torch.ones(1, 3)).tolist() == [[4, 13]]
    assert loaded.weights_sha256 is None
