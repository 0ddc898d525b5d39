import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.victims import data as module
from benchmarks.victims.data import Images, load_data

TRAIN, TEST, CLASSES = 6, 2, ("ant", "bee")


@pytest.fixture(autouse=True)
def small_splits(monkeypatch):
    monkeypatch.setattr(module, "POOL", 3)
    monkeypatch.setattr(module, "DEVELOPMENT", 4)


@pytest.fixture
def folder(tmp_path):
    """Each image is of one colour, which gives its part, class and number."""
    root = tmp_path / "images"
    for part, count in (("train", TRAIN), ("test", TEST)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                write(root / part / name / f"{number}.png", colour(part, label, number))
    return root


def colour(part, label, number):
    return (200 if part == "train" else 100), 10 * label, number


def write(path, value):
    Image.fromarray(np.full((4, 5, 3), value, dtype=np.uint8)).save(path)


def colours(images):
    assert (images.pixels == images.pixels[:, :, :1, :1]).all()
    return [tuple(row) for row in images.pixels[:, :, 0, 0].tolist()]


def equal(first, second):
    return torch.equal(first.pixels, second.pixels) and torch.equal(first.labels, second.labels)


def test_nothing_is_used_twice_and_nothing_is_left_out(folder, tmp_path):
    data = load_data(folder, tmp_path / "cache")
    assert [len(d) for d in (data.train, data.pool, data.development, data.test)] == [5, 3, 4, 4]
    training = [c for d in (data.train, data.pool, data.development) for c in colours(d)]
    everything = [colour("train", label, n) for label in range(2) for n in range(TRAIN)]
    assert sorted(training) == sorted(everything)
    assert colours(data.test) == [colour("test", label, n) for label in range(2) for n in range(2)]


def test_images_keep_their_classes(folder, tmp_path):
    data = load_data(folder, tmp_path / "cache")
    assert data.classes == 2
    for images in (data.train, data.pool, data.development, data.test):
        assert images.pixels.shape[1:] == (3, 4, 5)
        assert images.pixels.dtype == torch.uint8
        assert images.labels.dtype == torch.int64
        assert [green // 10 for _, green, _ in colours(images)] == images.labels.tolist()


def test_a_zip_is_as_good_as_a_folder(folder, tmp_path):
    packed = tmp_path / "images.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(file, file.relative_to(folder))
    first, second = (load_data(source, tmp_path / "cache") for source in (folder, packed))
    assert first.digest == second.digest
    for part in ("train", "pool", "development", "test"):
        assert equal(getattr(first, part), getattr(second, part))


def test_the_second_time_they_come_from_the_cache(folder, tmp_path, monkeypatch):
    first = load_data(folder, tmp_path / "cache")
    monkeypatch.delattr(module, "_decode")
    second = load_data(folder, tmp_path / "cache")
    assert first.digest == second.digest
    assert equal(first.train, second.train)


def test_a_changed_image_is_read_again(folder, tmp_path):
    before = load_data(folder, tmp_path / "cache")
    write(folder / "train" / "ant" / "0.png", (1, 2, 3))
    write(folder / "train" / "bee" / "extra.png", (4, 5, 6))
    after = load_data(folder, tmp_path / "cache")
    assert after.digest != before.digest
    assert len(after.train) == len(before.train) + 1


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_is_missing(folder, tmp_path, part):
    shutil.rmtree(folder / part)
    with pytest.raises(SystemExit, match="train/CLASS"):
        load_data(folder, tmp_path / "cache")


def test_the_parts_have_other_classes(folder, tmp_path):
    (folder / "test" / "bee").rename(folder / "test" / "cat")
    with pytest.raises(SystemExit, match="different classes"):
        load_data(folder, tmp_path / "cache")


def test_images_at_indices():
    images = Images(torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1), torch.arange(4))
    chosen = images.at(torch.tensor([3, 1]))
    assert chosen.pixels.flatten().tolist() == [3, 1]
    assert chosen.labels.tolist() == [3, 1]


def test_what_is_no_source_is_told_in_one_line(folder, tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "bare" / "train").mkdir(parents=True)
    (tmp_path / "bare" / "test").mkdir()
    few = tmp_path / "few"
    shutil.copytree(folder, few)
    for file in list((few / "train").rglob("*.png"))[:8]:
        file.unlink()
    for source, reason in (
        (tmp_path / "missing.zip", "no such folder or zip"),
        (tmp_path / "text.zip", "neither a folder nor a zip"),
        (tmp_path / "bare", "no folders of classes"),
        (few, "4 images to train on, expected more than 7"),
    ):
        with pytest.raises(SystemExit, match=reason):
            load_data(source, tmp_path / "cache")
