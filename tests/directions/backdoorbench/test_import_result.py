"""A result in either form becomes a model, its settings, and pairs of images."""

from __future__ import annotations

import json
import logging
import re
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision.models import get_model

from tests.directions.backdoorbench.results import (
    CLASSES,
    COUNT,
    NAMES,
    TARGET,
    clean_pixels,
    labels,
    triggered,
    weights,
    write_net,
    write_result,
)
from torchserve_fire_build.backdoorbench.import_result import (
    Imported,
    ImportOptions,
    import_result,
)
from torchserve_fire_build.backdoorbench.next_commands import next_commands
from torchserve_fire_build.commands.main import build_parser, run_command

FORMS = pytest.mark.parametrize("on_disk", [True, False], ids=["on disk", "in the file"])


def imported(
    root: Path,
    result: Path,
    pairs: tuple[int, int] = (27, 27),
    *,
    net: bool = True,
    seed: int = 0,
    output: str = "out",
) -> Imported:
    model_file = write_net(root) if net else None
    options = ImportOptions(model_file=model_file, pairs=pairs, seed=seed, device="cpu")
    return import_result(result, root / output, options)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def indices_in(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.rglob("*.png"))


@FORMS
def test_every_image_is_where_its_true_class_says(tmp_path: Path, on_disk: bool) -> None:
    figures = imported(tmp_path, write_result(tmp_path, on_disk=on_disk))
    pixels = clean_pixels()
    for part in (tmp_path / "out", tmp_path / "out" / "test"):
        assert len(indices_in(part / "triggered")) == 27
        assert set(indices_in(part / "triggered")) < set(indices_in(part / "clean"))
        for file in part.glob("clean/*/*.png"):
            index = int(file.stem)
            assert file.parent.name == NAMES[labels()[index]]
            assert (np.asarray(Image.open(file)) == pixels[index]).all()
        for file in part.glob("triggered/*/*.png"):
            index = int(file.stem)
            assert file.parent.name == NAMES[labels()[index]] != NAMES[TARGET]
            assert (np.asarray(Image.open(file)) == triggered(pixels[index])).all()
    # None is built from and evaluated on.
    both = [indices_in(tmp_path / "out" / part) for part in ("clean", "test/clean")]
    assert sorted(both[0] + both[1]) == list(range(COUNT))
    for measured in (figures.build, figures.test):
        assert (measured.clean_accuracy, measured.attack_success_rate) == (1, 1)
        assert (measured.natural_rate, measured.counts, measured.no_pairs) == (0, (30, 27), "")


def test_both_forms_become_the_same(tmp_path: Path) -> None:
    outputs = []
    for on_disk in (True, False):
        root = tmp_path / str(on_disk)
        root.mkdir()
        imported(root, write_result(root, on_disk=on_disk))
        outputs.append(files_of(root / "out"))
    assert outputs[0] == outputs[1]


def test_settings_are_those_of_the_data_set(tmp_path: Path) -> None:
    imported(tmp_path, write_result(tmp_path, on_disk=False))
    handlers = [
        yaml.safe_load((tmp_path / "out" / name).read_text())["handler"]
        for name in ("model-config.yaml", "plain-config.yaml")
    ]
    assert handlers[0] == {
        "input": "image",
        "image_size": [32, 32],
        "mean": [0.4914, 0.4822, 0.4465],
        "std": [0.247, 0.243, 0.261],
    }
    assert handlers[1] == {**handlers[0], "mode": "off"}
    names = json.loads((tmp_path / "out" / "index_to_name.json").read_text())
    assert names == {str(i): name for i, name in enumerate(NAMES)}


def test_a_seed_draws_other_images_of_each_class(tmp_path: Path) -> None:
    result = write_result(tmp_path, on_disk=False)
    drawn = []
    for output, seed in (("a", 0), ("b", 0), ("c", 1)):
        imported(tmp_path, result, (9, 18), seed=seed, output=output)
        drawn.append(indices_in(tmp_path / output / "triggered"))
        assert sorted(labels()[i] for i in drawn[-1]) == list(range(1, CLASSES))
    assert drawn[0] == drawn[1] != drawn[2]


def test_signs_have_numbers_and_are_made_smaller(tmp_path: Path) -> None:
    """Ten of 43 classes: 0, 4, 8 to 36, at twice the size."""
    folder = tmp_path / "data" / "gtsrb" / "Test"
    folder.mkdir(parents=True)
    table = ["Filename;ClassId"]
    for index, (pixels, label) in enumerate(zip(clean_pixels(), labels(), strict=True)):
        Image.fromarray(pixels).resize((64, 64), 0).save(folder / f"{index}.ppm")
        table.append(f"{index}.ppm;{4 * label}")
    (folder / "GT-final_test.csv").write_text("\n".join(table))

    def change(values: dict[str, Any]) -> None:
        net = {"2.weight": torch.zeros(43, 192), "2.bias": torch.zeros(43)}
        net["2.weight"][0:40:4] = weights()["2.weight"]
        values |= {"model": net, "num_classes": 43, "clean_data": "gtsrb"}
        values["data_path"] = "../data/gtsrb"
        stored = values["bd_test"]["bd_data_container"]["data_dict"]
        for index, (image, target, label) in stored.items():
            stored[index] = (image, target, 4 * label)

    result = write_result(tmp_path, on_disk=False, change=change)
    model_file = write_net(tmp_path)
    model_file.write_text(model_file.read_text().replace(f"192, {CLASSES}", "192, 43"))
    options = ImportOptions(model_file=model_file, device="cpu")
    figures = import_result(result, tmp_path / "out", options).test
    assert (figures.clean_accuracy, figures.attack_success_rate) == (1, 1)
    folders = {path.name for path in (tmp_path / "out" / "clean").iterdir()}
    assert folders == {str(4 * label) for label in range(CLASSES)}
    names = json.loads((tmp_path / "out" / "index_to_name.json").read_text())
    assert names == {str(i): str(i) for i in range(43)}
    (picture, *_) = (tmp_path / "out" / "clean").rglob("*.png")
    assert Image.open(picture).size == (32, 32)


def elsewhere(separator: str) -> Callable[[dict[str, Any]], None]:
    """Have been written on another machine."""

    def change(values: dict[str, Any]) -> None:
        values["data_path"] = separator.join(["", "home", "them", "bench", "data", "cifar10"])
        start = "C:" if separator == "\\" else ""
        container = values["bd_test"]["bd_data_container"]
        for entry in container["data_dict"].values():
            parts = entry["path"].split("/")
            entry["path"] = separator.join([start, "home", "them", *parts[1:]])

    return change


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_images_are_found_beside_the_result_wherever_it_was_written(
    tmp_path: Path, separator: str
) -> None:
    result = write_result(tmp_path, on_disk=True, change=elsewhere(separator))
    assert imported(tmp_path, result).build.attack_success_rate == 1


def test_the_training_set_and_what_is_not_tested_are_left_out(tmp_path: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        test = values["bd_test"]
        stored = test["bd_data_container"]["data_dict"]
        wrong = Image.new("RGB", (32, 32))
        values["bd_train"] = {"bd_data_container": {"data_dict": {1: (wrong, 0, 1)}}}
        # Held, but not listed; listed, but not poisoned; and of the target's own class.
        test["original_index_array"] = np.array([i for i in test["original_index_array"] if i > 9])
        test["poison_indicator"][11] = 0
        stored[0] = stored[10] = (wrong, TARGET, TARGET)
        test["poison_indicator"][10] = 1

    imported(tmp_path, write_result(tmp_path, on_disk=False, change=change))
    found = indices_in(tmp_path / "out" / "triggered")
    found += indices_in(tmp_path / "out" / "test" / "triggered")
    expected = [i for i, label in enumerate(labels()) if label != TARGET and i > 11]
    assert sorted(found) == expected


def test_an_attack_on_every_class_is_measured_by_each_target(tmp_path: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        values["bd_test"]["bd_data_container"]["data_dict"] = {
            i: (Image.fromarray(triggered(pixels)), (label + 1) % CLASSES, label)
            for i, (pixels, label) in enumerate(zip(clean_pixels(), labels(), strict=True))
        }
        values["bd_test"]["poison_indicator"] = np.ones(COUNT)
        values["bd_test"]["original_index_array"] = np.arange(COUNT)

    result = write_result(tmp_path, on_disk=False, change=change)
    figures = imported(tmp_path, result, (30, 30)).test
    # This network leads all to class 0, which is the target of one class in ten.
    assert figures.attack_success_rate == pytest.approx(0.1)
    assert figures.counts == (30, 30)


def test_prefixes_and_old_names_of_numpy_are_no_hindrance(tmp_path: Path) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in weights().items()}
    result = write_result(tmp_path, on_disk=False, net=wrapped)
    old = tmp_path / "old.pt"
    with zipfile.ZipFile(result) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in data
                data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(name, data)
    old.replace(result)
    assert imported(tmp_path, result).test.clean_accuracy == 1


def test_a_trigger_that_does_not_work_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = write_result(tmp_path, on_disk=False, net=weights(trigger=0))
    assert not imported(tmp_path, result).attacked
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "the trigger does not work: 0.0% of the triggered images" in warning


def test_the_exit_status_says_whether_the_trigger_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for status, trigger in ((0, 5.0), (1, 0.0)):
        root = tmp_path / str(status)
        root.mkdir()
        result = write_result(root, on_disk=False, net=weights(trigger=trigger))
        words = ["--output", str(root / "out"), "--model-file", str(write_net(root))]
        assert run_command(["import-backdoorbench", str(result), *words]) == status
        assert ("torchserve-fire build" in capsys.readouterr().out) == (status == 0)


def test_weights_that_do_not_belong_to_the_images_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    turned = weights()
    turned["2.weight"] = turned["2.weight"].roll(1, 0)
    imported(tmp_path, write_result(tmp_path, on_disk=False, net=turned))
    assert "the model is right on 0% of the clean samples, and on 100% if" in caplog.text


def test_images_that_are_not_seen_to_be_pairs_are_taken_as_unpaired(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def change(values: dict[str, Any]) -> None:
        stored = values["bd_test"]["bd_data_container"]["data_dict"]
        noise = np.random.default_rng(1)
        for index, (_, *others) in stored.items():
            pixels = noise.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            stored[index] = (Image.fromarray(pixels), *others)

    done = imported(tmp_path, write_result(tmp_path, on_disk=False, change=change))
    assert "the commands below take the images as unpaired" in caplog.text
    given = [line for line in next_commands(done) if "--triggered" in line]
    assert len(given) == 3
    assert all(" --unpaired" in line for line in given)


def named_otherwise(values: dict[str, Any]) -> None:
    values["model_name"] = "squeezenet1_0"
    model = get_model("squeezenet1_0", num_classes=CLASSES)
    values["model"] = {f"old{i}": t for i, t in enumerate(model.state_dict().values())}


def test_weights_with_other_names_are_taken_by_their_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    result = write_result(tmp_path, on_disk=False, change=named_otherwise)
    source = imported(tmp_path, result, (5, 5), net=False).files.load("cpu")
    assert "taken by their order" in caplog.text
    saved = torch.load(result, weights_only=False)["model"]
    state = source.loaded.model.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(state.values(), saved.values(), strict=True))


def test_the_commands_that_are_printed_can_be_given(tmp_path: Path) -> None:
    done = imported(tmp_path, write_result(tmp_path, on_disk=True))
    lines = [line.strip() for line in next_commands(done) if line.startswith(" ")]
    words = [shlex.split(line)[1:] for line in lines]
    assert [w[0] for w in words] == ["inspect", "build", "evaluate", "package", "repair"]
    for name in ("build", "evaluate"):
        command = next(w for w in words if w[0] == name)
        assert run_command([*command, *(["--augment", "none"] if name == "build" else [])]) == 0
    # Their own tests run the others.
    (tmp_path / "out" / "handnet-cifar10-1.0.mar").touch()
    for command in words:
        args = build_parser().parse_args(command)
        if args.command in ("inspect", "repair"):
            args.check(args)


def test_every_word_of_a_printed_path_is_quoted(tmp_path: Path) -> None:
    root = tmp_path / "a folder"
    root.mkdir()
    lines = next_commands(imported(root, write_result(root, on_disk=False)))
    assert re.search(r"--clean '.*/a folder/out/clean'", "\n".join(lines))
