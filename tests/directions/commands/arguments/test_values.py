import argparse
from pathlib import Path

import pytest

from torchserve_fire_build.commands.arguments.values import (
    above_zero,
    address,
    at_least,
    bundle_to_write,
    existing_file,
    existing_folder,
    existing_samples,
    existing_weights,
    model_source,
    seconds,
    seed,
    target,
    zero_or_more,
)


@pytest.mark.parametrize(
    ("take", "text", "value"),
    [
        (address, "http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        (seconds, "90", 90),
        (seconds, "0.5", 0.5),
        (seconds, "1e-9", 1e-9),
        (seconds, "90s", 90),
        (seconds, "2m", 120),
        (seconds, "1.5h", 5400),
        (seed, "0", 0),
        (seed, str(2**63 - 1), 2**63 - 1),
        (target, "auto", None),
        (target, "12", 12),
        (target, "cat", "cat"),
        (at_least(16), "16", 16),
        (above_zero(), "1e300", 1e300),
        (above_zero(1), "1", 1),
        (zero_or_more(), "0", 0),
        (zero_or_more(1), "1", 1),
        (bundle_to_write, "a/b.safetensors", Path("a/b.safetensors")),
    ],
)
def test_what_is_taken(take, text, value):
    assert take(text) == value


@pytest.mark.parametrize(
    ("take", "text", "expected"),
    [
        (address, "127.0.0.1:8081", "an address that begins with http:// or https://"),
        (address, "https://", "an address that begins with"),
        (seconds, "0", "a time above 0, in seconds (90 or 90s), minutes (2m) or hours (1.5h)"),
        (seconds, "-1", "a time above 0"),
        (seconds, "nan", "a time above 0"),
        (seconds, "inf", "a time above 0"),
        (seconds, "2 min", "a time above 0"),
        (seconds, "m", "a time above 0"),
        (seconds, "", "a time above 0"),
        (seed, "-1", "a whole number, 0 to 2"),
        (seed, str(2**63), "a whole number, 0 to 2"),
        (seed, "0.5", "a whole number, 0 to 2"),
        (target, "-1", "auto, or the index or the name of a class"),
        (target, "", "auto, or the index or the name of a class"),
        (at_least(16), "15", "a whole number, 16 or more"),
        (at_least(1), "1.5", "a whole number, 1 or more"),
        (above_zero(), "0", "a number above 0"),
        (above_zero(), "inf", "a number above 0"),
        (above_zero(), "nan", "a number above 0"),
        (above_zero(255), "256", "a number above 0, at most 255"),
        (zero_or_more(), "-0.1", "a number, 0 or more"),
        (zero_or_more(), "inf", "a number, 0 or more"),
        (zero_or_more(1), "x", "a number, 0 to 1"),
        (bundle_to_write, "b.pt", "a name ending in .safetensors"),
    ],
)
def test_what_is_refused(take, text, expected):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        take(text)
    assert str(caught.value).startswith(f"{text}: expected {expected}")


def test_paths(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert existing_file(str(file)) == file
    assert existing_folder(str(tmp_path)) == tmp_path
    assert existing_samples(str(file)) == file
    assert existing_samples(str(tmp_path)) == tmp_path
    assert existing_weights(str(file)) == file
    assert model_source(str(file)) == file
    assert str(model_source("timm:resnet18.a1_in1k")) == "timm:resnet18.a1_in1k"


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json"])
def test_of_a_folder_the_weights_in_it(tmp_path, name):
    with pytest.raises(argparse.ArgumentTypeError, match=r"a folder without model\.safetensors or"):
        existing_weights(str(tmp_path))
    (tmp_path / name).touch()
    assert existing_weights(str(tmp_path)) == tmp_path / name


@pytest.mark.parametrize(
    ("take", "name", "problem"),
    [
        (existing_file, "none", "no such file"),
        (existing_file, ".", "is a folder, expected a file"),
        (existing_file, "file/below", "Not a directory"),
        (existing_file, "x" * 300, "File name too long"),
        (existing_folder, "none", "no such folder"),
        (existing_folder, "file", "is a file, expected a folder"),
        (existing_samples, "none", "no such file or folder"),
        (existing_weights, "none", "no such file or folder"),
        (model_source, "none", "no such file"),
    ],
)
def test_paths_that_are_refused(tmp_path, monkeypatch, take, name, problem):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        take(name)
    assert str(caught.value) == f"{name}: {problem}"
