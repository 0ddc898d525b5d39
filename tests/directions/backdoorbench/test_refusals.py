"""What is no result, or does not belong together, is refused in one line; nothing stays behind."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.directions.backdoorbench.results import labels, weights, write_net, write_result
from torchserve_fire_build.backdoorbench.stored_image import StoredImage
from torchserve_fire_build.commands.main import main

Values = dict[str, Any]


class _RunsCode:
    """Unpickled, it would make a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("mkdir code-has-run",)


def stored(values: Values) -> dict[Any, Any]:
    found: dict[Any, Any] = values["bd_test"]["bd_data_container"]["data_dict"]
    return found


def entry(index: int, value: Any) -> Callable[[Values], None]:
    return lambda values: stored(values).__setitem__(index, value)


def path_of_1(path: str) -> Callable[[Values], None]:
    return entry(1, {"path": path, "other_info": [0, 1]})


def put(name: str, value: Any) -> Callable[[Values], None]:
    return lambda values: values.__setitem__(name, value)


def without(name: str) -> Callable[[Values], None]:
    return lambda values: values.__delitem__(name)


def defended(values: Values) -> None:
    for name in [*values]:
        if name not in ("model_name", "num_classes", "model"):
            del values[name]


def not_a_number(values: Values) -> None:
    values["model"]["2.weight"][3, 7] = float("nan")


def nine_classes(values: Values) -> None:
    values["model"] = {name: tensor[:9] for name, tensor in weights().items()}


def no_image_tested(values: Values) -> None:
    values["bd_test"]["poison_indicator"][:] = 0


def image_too_short(values: Values) -> None:
    image, *others = stored(values)[1]
    image.frombytes(image.tobytes())
    cut = _Cut(image)
    stored(values)[1] = (cut, *others)


class _Cut:
    """Is pickled as an image that says to be larger than its pixels."""

    def __init__(self, image: Any) -> None:
        self._image = image

    def __reduce__(self) -> tuple[Any, ...]:
        from PIL import Image

        state = [{}, "RGB", (4000, 4000), None, self._image.tobytes()]
        return Image.Image, (), state


# What is wrong, whether images are on disk, and what the line says.
IN_THE_FILE: dict[str, tuple[bool, Callable[[Values], None], str]] = {
    "code in it": (True, put("note", _RunsCode()), "names posix.system, which is not unpickled"),
    "whole model": (True, put("model", nn.Linear(2, 2)), "names torch.nn.modules.linear.Linear"),
    "lacks the name": (True, without("model_name"), "lacks model_name"),
    "lacks the indicator": (
        True,
        lambda values: values["bd_test"].__delitem__("poison_indicator"),
        "lacks bd_test.poison_indicator",
    ),
    "of a defense": (True, defended, "not the result of a defense"),
    "no dictionary": (True, put("bd_test", 3), "bd_test is 3, expected a dictionary"),
    "no weights": (True, put("model", {}), "model is {}, expected a dictionary that is not empty"),
    "no tensor": (
        True,
        put("model", {"2.bias": 1}),
        "model holds '2.bias': 1, expected a state_dict",
    ),
    "two lines": (True, put("model_name", "a\nb"), "expected a text of one line"),
    "key of two lines": (True, lambda v: (v.clear(), v.update({"a\nb": 1})), "found 'a\\nb'"),
    "NaN": (True, not_a_number, "the weights 2.weight are not all finite numbers"),
    "other classes": (True, put("num_classes", 12), "num_classes is 12, but cifar10 has 10"),
    "half a class": (True, put("num_classes", 9.5), "num_classes is 9.5, expected a whole number"),
    "weights of nine": (True, nine_classes, "the weights do not fit handnet"),
    "unknown data": (True, put("clean_data", "mnist"), "clean_data is 'mnist', expected one of"),
    "grey": (True, put("img_size", (28, 28, 1)), "img_size is (28, 28, 1), expected [height"),
    "data elsewhere": (True, put("data_path", "./data/other"), "give --data with the folder that"),
    "out of the folder": (True, path_of_1("bd_test_dataset/../1.png"), "ends in FOLDER/CLASS/NAME"),
    "no folder": (True, path_of_1("1.png"), "ends in FOLDER/CLASS/NAME"),
    "image not there": (True, path_of_1("bd_test_dataset/1/none.png"), "1 are not there, such as"),
    "target of no class": (True, entry(1, {"path": "a/b/c", "other_info": [10, 1]}), "target 10"),
    "no classes": (True, entry(1, {"path": "a/b/c"}), "its target and its true class"),
    "index beyond": (True, entry(60, {"path": "a/b/c", "other_info": [0, 1]}), "the index 60"),
    "other order": (False, lambda v: stored(v).update({1: stored(v)[2]}), "is of class 1, but its"),
    "cut image": (False, image_too_short, "4000 x 4000 pixels whose pixels are not as many"),
    "no image tested": (False, no_image_tested, "no test image has the trigger"),
}


def refused(
    root: Path, result: Path, capsys: pytest.CaptureFixture[str], *more: str, net: bool = True
) -> str:
    """Import, and return the one line of the refusal, after which all is as before."""
    flags = ["--model-file", str(write_net(root))] if net else []
    before = everything(root)
    words = [*flags, "--output", str(root / "out"), "--device", "cpu", *more]
    assert main(["import-backdoorbench", str(result), *words]) == 64
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert ".tmp" not in said
    assert everything(root) == before
    return said


def everything(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("kind", IN_THE_FILE)
def test_a_file_that_is_wrong(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_disk, change, said = IN_THE_FILE[kind]
    monkeypatch.chdir(tmp_path)
    result = write_result(tmp_path, on_disk=on_disk, change=change)
    assert said in refused(tmp_path, result, capsys)


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_file_that_is_cut_off(
    kept: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = write_result(tmp_path, on_disk=False)
    data = result.read_bytes()
    result.write_bytes(data[: int(kept * len(data)) if kept < 1 else int(kept)])
    assert "cut off, damaged or of another format" in refused(tmp_path, result, capsys)


def test_a_plain_pickle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = write_result(tmp_path, on_disk=True)
    result.write_bytes(pickle.dumps({"model": _RunsCode()}))
    assert "of another format" in refused(tmp_path, result, capsys)


def test_the_folder_of_images_was_not_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = write_result(tmp_path, on_disk=True)
    shutil.rmtree(result.parent / "bd_test_dataset")
    said = refused(tmp_path, result, capsys)
    assert "of 54 triggered images 54 are not there" in said
    assert "copy the whole folder bd_test_dataset beside the file" in said


def test_a_damaged_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = write_result(tmp_path, on_disk=True)
    for file in result.parent.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:60])
    assert "is no whole image" in refused(tmp_path, result, capsys)


def test_clean_images_that_name_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = write_result(tmp_path, on_disk=True)
    (batch,) = tmp_path.rglob("test_batch")
    batch.write_bytes(pickle.dumps({"data": _RunsCode(), "labels": labels()}, protocol=2))
    assert "holds other objects than arrays" in refused(tmp_path, result, capsys)


def test_an_architecture_that_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = write_result(tmp_path, on_disk=True)
    said = refused(tmp_path, result, capsys, net=False)
    assert "model_name is 'handnet', which is not known here: give --model-file" in said


def test_weights_of_another_architecture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = write_result(tmp_path, on_disk=True, change=put("model_name", "squeezenet1_0"))
    said = refused(tmp_path, result, capsys, net=False)
    assert "the weights do not fit squeezenet1_0" in said
    assert f"{tmp_path}/out/model.py" in said


@pytest.mark.parametrize("output", ["record", "hand_net.py"])
def test_an_output_that_exists(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = write_result(tmp_path, on_disk=True)
    said = refused(tmp_path, result, capsys, "--output", str(tmp_path / output))
    assert f"{output}: exists already, expected a new folder" in said


def test_an_output_in_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = write_result(tmp_path, on_disk=True)
    said = refused(tmp_path, result, capsys, "--output", str(tmp_path / "none" / "out"))
    assert "cannot be written: no folder" in said


@pytest.mark.parametrize(
    "state", [None, [], [{}, "P", (1, 1), None, b"0"], [{}, "RGB", (0, 1), None, b""]]
)
def test_what_is_no_image(state: Any) -> None:
    image = StoredImage()
    image.__setstate__(state)
    with pytest.raises(ValueError, match="image"):
        image.decoded()


def test_the_code_would_have_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above show nothing."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "note.pt"
    torch.save(_RunsCode(), file)
    torch.load(file, weights_only=False)
    assert (tmp_path / "code-has-run").is_dir()
