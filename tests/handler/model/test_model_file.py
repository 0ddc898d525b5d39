import sys

import pytest
import torch
from torch import nn

from torchserve_fire.errors import ModelError
from torchserve_fire.model.load_model import load_model
from torchserve_fire.model.missing_package import missing_package
from torchserve_fire.model.model_file import import_model_file, model_classes, model_file_folder

BLOCKS = """
from torch import nn

class Block(nn.Module):
    def __init__(self, size=3):
        super().__init__()
        self.fc = nn.Linear(size, 2)

    def forward(self, x):
        return self.fc(x)
"""
STATE = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}


def classes_of(path, wanted=None):
    with model_file_folder(path):
        return [c.__name__ for c in model_classes(import_model_file(path), path, wanted)]


def refusal(path, text):
    path.write_text(text)
    with pytest.raises(ModelError) as raised:
        classes_of(path)
    assert str(raised.value).splitlines() == [str(raised.value)]
    return str(raised.value)


@pytest.fixture
def net(tmp_path):
    return tmp_path / "net.py"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1", "found none"),
        ("class Net: pass", "found none"),
        ("from torch.nn import Linear", "found none"),
        ("def f(:", "cannot be imported"),
        ("import sys; sys.exit(0)", "cannot be imported: it ends the process"),
        ("import no_such_module_here", "pip install no_such_module_here"),
        ("import cv2_missing.x", "No module named 'cv2_missing'"),
        ("raise RuntimeError('no\\nway')", "cannot be imported: no"),
        ("def make():\n    return 1", "found none beside the function make: add a class"),
    ],
)
def test_files_without_a_model(net, text, reason):
    before = list(sys.path), list(sys.argv)
    assert reason in refusal(net, text)
    assert (sys.path, sys.argv) == before


def test_a_file_that_reads_the_command_line_finds_an_empty_one(net, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["torchserve-fire", "build", "--clean", "x"])
    net.write_text(f"import argparse\nargparse.ArgumentParser().parse_args()\n{BLOCKS}")
    assert classes_of(net) == ["Block"]
    assert sys.argv[1] == "build"


def test_a_file_that_needs_a_command_line_says_so(net, capsys):
    message = refusal(
        net,
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--data', required=True)\nparser.parse_args()\n",
    )
    assert "the following arguments are required: --data" in message
    assert "__main__" in message
    assert capsys.readouterr().err == ""


def test_what_an_import_prints_is_not_lost(net, capsys):
    net.write_text(f"import sys\nprint('a warning', file=sys.stderr)\n{BLOCKS}")
    classes_of(net)
    assert capsys.readouterr().err == "a warning\n"


@pytest.mark.parametrize(
    "source", ["from .near_blocks import Block", "from near_blocks import Block"]
)
def test_a_class_of_a_neighbour_is_taken(net, tmp_path, source):
    (tmp_path / "near_blocks.py").write_text(BLOCKS)
    net.write_text(source)
    assert classes_of(net) == ["Block"]


@pytest.mark.parametrize("dot", [".", ""])
def test_a_class_of_a_package_beside_is_taken(net, tmp_path, dot):
    (tmp_path / "parts_beside").mkdir()
    (tmp_path / "parts_beside" / "__init__.py").write_text("from .inner import Block\n")
    (tmp_path / "parts_beside" / "inner.py").write_text(BLOCKS)
    net.write_text(f"from {dot}parts_beside import Block\n")
    torch.save(STATE, tmp_path / "w.pth")
    loaded = load_model(net, tmp_path / "w.pth")
    assert loaded.model(torch.ones(1, 3)).tolist() == [[4, 4]]


def test_a_class_of_its_own_comes_before_those_of_neighbours(net, tmp_path):
    (tmp_path / "blocks_too.py").write_text(BLOCKS)
    net.write_text("from blocks_too import Block\nclass Net(Block):\n    pass\n")
    assert classes_of(net) == ["Net"]


def test_neighbours_of_one_name_in_two_folders_are_told_apart(tmp_path):
    for size in (3, 4):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / "same_name.py").write_text(BLOCKS.replace("size=3", f"size={size}"))
        (folder / "net.py").write_text("from .same_name import Block\n")
        torch.save(nn.ModuleDict({"fc": nn.Linear(size, 2)}).state_dict(), folder / "w.pth")
        assert load_model(folder / "net.py", folder / "w.pth").model.fc.in_features == size


def test_a_neighbour_may_be_imported_while_the_class_is_built(net, tmp_path):
    (tmp_path / "late_blocks.py").write_text(BLOCKS)
    net.write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __new__(cls):\n"
        "        from late_blocks import Block\n        return Block()\n"
    )
    torch.save(STATE, tmp_path / "w.pth")
    assert load_model(net, tmp_path / "w.pth").class_name == "Block"


def test_arguments_that_a_class_needs_are_named_with_the_remedy(net, tmp_path):
    net.write_text(BLOCKS.replace("size=3", "size, depth"))
    torch.save(STATE, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"Block is built with size, depth: give them.*__new__"):
        load_model(net, tmp_path / "w.pth")


def test_a_class_that_makes_no_module(net, tmp_path):
    net.write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __new__(cls):\n        return 5\n"
    )
    torch.save(STATE, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"Net makes a int, no torch\.nn\.Module"):
        load_model(net, tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("module", "package"),
    [("captum", "captum"), ("cv2", "opencv-python-headless"), ("skimage.io", "scikit-image")],
)
def test_packages_are_named_as_pip_calls_them(module, package):
    said = missing_package(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert f"No module named {module!r}: pip install {package} " in said
