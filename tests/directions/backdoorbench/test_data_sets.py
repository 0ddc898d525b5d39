"""The clean test images of each data set, in BackdoorBench's order."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchserve_fire_build.backdoorbench.attack_result import AttackResult
from torchserve_fire_build.backdoorbench.cifar import read_cifar_100
from torchserve_fire_build.backdoorbench.data_sets import (
    DATA_SETS,
    find_test_images,
    read_test_images,
)
from torchserve_fire_build.backdoorbench.gtsrb import read_gtsrb
from torchserve_fire_build.backdoorbench.tiny_imagenet import read_tiny_imagenet
from torchserve_fire_build.common.errors import AttackResultError


def save(path: Path, grey: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(path)


def result_at(path: Path, data_set: str, data_path: str = "../data/x") -> AttackResult:
    return AttackResult(path, "net", 43, {}, data_set, data_path, (32, 32), ())


def test_cifar_100_has_its_fine_classes(tmp_path: Path) -> None:
    rows = np.zeros((3, 3072), np.uint8)
    rows[1, :1024] = 7  # Red.
    values = {"data": rows, "fine_labels": [99, 5, 0], "coarse_labels": [1, 2, 3]}
    (tmp_path / "test").write_bytes(pickle.dumps(values, protocol=2))
    clean = read_cifar_100(tmp_path / "test")
    assert (clean.labels, clean.names) == ([99, 5, 0], ())
    assert clean.image(1).getpixel((31, 31)) == (7, 0, 0)


@pytest.mark.parametrize("labels", [[0, 100], [0], [0, -1], ["a", 1], None])
def test_cifar_of_other_classes_is_refused(tmp_path: Path, labels: object) -> None:
    values = {"data": np.zeros((2, 3072), np.uint8), "fine_labels": labels}
    (tmp_path / "test").write_bytes(pickle.dumps(values))
    with pytest.raises(AttackResultError, match="expected the test images of CIFAR"):
        read_cifar_100(tmp_path / "test")


def test_signs_are_whole_frames_in_the_order_of_the_table(tmp_path: Path) -> None:
    table = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for name, label in (("00001.ppm", 16), ("00000.ppm", 1)):
        save(tmp_path / name, label, (20, 10))
        table.append(f"{name};20;10;5;5;9;9;{label}")
    (tmp_path / "GT-final_test.csv").write_text("\n".join(table))
    clean = read_gtsrb(tmp_path / "GT-final_test.csv")
    assert clean.labels == [16, 1]
    assert [clean.image(i).getpixel((0, 0))[0] for i in (0, 1)] == [16, 1]
    assert clean.image(0).size == (20, 10)


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "GT-final_test.csv").write_text("Filename,ClassId\n1.ppm,3\n")
    with pytest.raises(AttackResultError, match="separated by semicolons"):
        read_gtsrb(tmp_path / "GT-final_test.csv")


@pytest.mark.parametrize("sorted_by_class", [True, False])
def test_tiny_imagenet_is_counted_by_class_and_name(tmp_path: Path, sorted_by_class: bool) -> None:
    images = {"val_2.JPEG": "n01", "val_10.JPEG": "n02", "val_1.JPEG": "n02", "val_0.JPEG": "n02"}
    for grey, (name, wnid) in enumerate(images.items()):
        save(tmp_path / (wnid if sorted_by_class else "images") / name, grey * 60)
    if not sorted_by_class:
        lines = [f"{name}\t{wnid}\t0\t0\t62\t62" for name, wnid in images.items()]
        (tmp_path / "val_annotations.txt").write_text("\n".join(lines))
    clean = read_tiny_imagenet(tmp_path)
    assert (clean.labels, clean.names) == ([0, 1, 1, 1], ["n01", "n02"])
    # As text: 0, 1, 10.
    greys = [clean.image(i).getpixel((0, 0))[0] for i in range(4)]
    assert np.allclose(greys, [0, 180, 120, 60], atol=1)


def test_they_are_found_in_a_folder_above_the_result(tmp_path: Path) -> None:
    place = tmp_path / "data" / "gtsrb" / "Test" / "GT-final_test.csv"
    place.parent.mkdir(parents=True)
    place.touch()
    file = tmp_path / "bench" / "record" / "wanet" / "attack_result.pt"
    for data_path in ("./data/gtsrb", "/home/them/data/bench/data/gtsrb", "..\\data\\gtsrb"):
        result = result_at(file, "gtsrb", data_path)
        assert find_test_images(result, DATA_SETS["gtsrb"], None) == place
    with pytest.raises(AttackResultError, match="give --data with the folder that holds Test/GT-"):
        find_test_images(result_at(file, "gtsrb", "./data/other"), DATA_SETS["gtsrb"], None)


@pytest.mark.parametrize("given", ["data", "data/gtsrb", "data/gtsrb/Test"])
def test_the_folder_that_is_given_may_be_any_on_the_way(tmp_path: Path, given: str) -> None:
    place = tmp_path / "data" / "gtsrb" / "Test" / "GT-final_test.csv"
    place.parent.mkdir(parents=True)
    place.touch()
    result = result_at(tmp_path / "elsewhere.pt", "gtsrb")
    assert find_test_images(result, DATA_SETS["gtsrb"], tmp_path / given) == place


def test_too_few_classes_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "n01" / "val_0.JPEG", 0)
    result = result_at(tmp_path / "attack_result.pt", "tiny")
    with pytest.raises(AttackResultError, match="holds 1 classes, expected the 200 of tiny"):
        read_test_images(result, DATA_SETS["tiny"], tmp_path)
