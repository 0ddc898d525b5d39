"""Code from a folder gets its own modules, and the process keeps those that it had."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

import torchserve_fire
from torchserve_fire.model.other_modules import lies_in, without_other_modules


def module(name, file):
    made = ModuleType(name)
    made.__file__ = str(file)
    return made


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    for name in ("one_module.py", "torch.py", "torchserve_fire.py", "data.txt"):
        (folder / name).write_text("")
    (folder / "one_package").mkdir()
    return folder


def test_modules_from_elsewhere_that_are_called_so_are_away_meanwhile(
    folder, tmp_path, monkeypatch
):
    away = {
        name: module(name, tmp_path / "elsewhere.py")
        for name in ("one_module", "one_package", "one_package.part")
    }
    there = {
        "data": module("data", tmp_path / "data.py"),
        "one_package.own": module("one_package.own", folder / "one_package" / "own.py"),
    }
    for name, value in (away | there).items():
        monkeypatch.setitem(sys.modules, name, value)
    with without_other_modules(folder):
        assert not away.keys() & sys.modules.keys()
        assert all(sys.modules[name] is value for name, value in there.items())
        # What is installed, and this project.
        assert {"torch", "torchserve_fire"} <= sys.modules.keys()
        sys.modules["one_module"] = module("one_module", folder / "one_module.py")
    assert all(sys.modules[name] is value for name, value in (away | there).items())
    assert sys.modules["torchserve_fire"] is torchserve_fire


def test_they_are_put_back_after_a_failure(folder, tmp_path, monkeypatch):
    other = module("one_module", tmp_path / "elsewhere.py")
    monkeypatch.setitem(sys.modules, "one_module", other)
    with pytest.raises(KeyError), without_other_modules(folder):
        raise KeyError
    assert sys.modules["one_module"] is other


def test_a_folder_that_is_not_there_hides_nothing(tmp_path):
    before = dict(sys.modules)
    with without_other_modules(tmp_path / "missing"):
        assert sys.modules == before


def test_a_module_lies_where_its_file_or_its_folders_are(tmp_path):
    package = ModuleType("package")
    package.__path__ = [str(tmp_path / "package")]
    assert lies_in(package, tmp_path)
    assert lies_in(module("one", tmp_path / "one.py"), tmp_path)
    assert not lies_in(module("one", tmp_path / "one.py"), tmp_path / "two")
    assert not lies_in(ModuleType("built_in"), tmp_path)
