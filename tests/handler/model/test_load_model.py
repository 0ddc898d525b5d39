import hashlib
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from torchserve_fire.errors import ModelError
from torchserve_fire.model.load_model import load_model, load_weights

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
    assert "Net: Error(s) in loading state_dict" in message
    assert "Broken: broken" in message
    with pytest.raises(ModelError, match="Wide"):
        load_model(*files, "Wide")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1", "found none"),
        ("class Net: pass", "found none"),
        ("from torch.nn import Linear", "found none"),
        ("def f(:", "cannot be imported"),
        ("import sys; sys.exit(0)", "cannot be imported: it ends the process"),
        ("import no_such_module_here", "no_such_module_here"),
        ("raise RuntimeError('no\\nway')", "cannot be imported: no"),
    ],
)
def test_files_without_a_model(files, text, reason):
    files[0].write_text(text)
    before = dict(sys.modules), list(sys.path)
    with pytest.raises(ModelError) as raised:
        load_model(*files)
    assert reason in str(raised.value)
    assert str(raised.value).splitlines() == [str(raised.value)]
    assert sys.path == before[1]


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


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_but_tensors_is_unpickled(tmp_path):
    trace = tmp_path / "executed"
    path = tmp_path / "w.pth"
    with path.open("wb") as file:
        pickle.dump(Malicious(trace), file)
    with pytest.raises(ModelError, match="expected a state_dict"):
        load_weights(path)
    for content in (Malicious(trace), {"a": Malicious(trace)}, torch.nn.Linear(2, 2)):
        torch.save(content, path)
        with pytest.raises(ModelError, match="expected a state_dict") as raised:
            load_weights(path)
        assert str(raised.value).splitlines() == [str(raised.value)]
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [{"state_dict": WEIGHTS, "epoch": 3}, [torch.zeros(1)], torch.zeros(3), 5, {"a": 1}],
)
def test_a_checkpoint_around_the_weights_is_named(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="expected a state_dict of tensors"):
        load_weights(tmp_path / "w.pth")


def test_torchscript_is_refused_with_the_way_out(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"TorchScript archive.*model file and its state_dict"):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_damaged_weights(files, tmp_path, name):
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    whole = (tmp_path / name).read_bytes()
    for data in (b"", b"\x80", whole[:20], whole[: len(whole) // 2], b"x" * 100):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError) as raised:
            load_weights(tmp_path / name)
        assert str(raised.value).splitlines() == [str(raised.value)]
        assert name in str(raised.value)
