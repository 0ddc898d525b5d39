import logging
import shutil

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from tests.directions.messages import one_line
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.sample_files import class_folders, images_in

IMAGES = HandlerConfig("image", (2, 2), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def write_image(path, form):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path, form)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("name", ["a.jfif", "A.JFIF", "a", "a.txt", "a.JPG"])
def test_what_its_first_bytes_call_an_image_is_one(tmp_path, form, name):
    write_image(tmp_path / "cat" / name, form)
    samples = open_samples(tmp_path, IMAGES)
    assert list(samples.names) == [f"cat/{name}"]
    assert samples.load([0]).shape == (1, 3, 2, 2)


@pytest.mark.parametrize(
    "hidden",
    [
        ".ipynb_checkpoints/a.png",
        "__MACOSX/cat/._a.png",
        "cat/._a.png",
        "cat/Thumbs.db",
        "cat/.thumbnails/a.png",
        "@eaDir/a.png",
    ],
)
def test_hidden_files_and_folders_are_no_samples(tmp_path, caplog, hidden):
    write_image(tmp_path / "cat" / "a.png", "PNG")
    write_image(tmp_path / hidden, "PNG")
    assert list(open_samples(tmp_path, IMAGES).names) == ["cat/a.png"]
    assert class_folders(tmp_path) == ["cat"]
    assert not caplog.text


def test_a_hidden_folder_may_hold_the_samples(tmp_path):
    write_image(tmp_path / ".cache" / "a.png", "PNG")
    assert list(open_samples(tmp_path / ".cache", IMAGES).names) == ["a.png"]


def test_what_is_no_image_is_counted_and_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write_image(tmp_path / "cat" / "a.png", "PNG")
    for name in ("notes.txt", "b.heic", "c.pdf", "empty"):
        (tmp_path / "cat" / name).write_bytes(b"" if name == "empty" else b"%PDF-1.4")
    (tmp_path / "labels.csv").write_text("BMW,P5")
    assert list(open_samples(tmp_path, IMAGES).names) == ["cat/a.png"]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path}: passed over 5 files that are no images of the formats JPEG, PNG, WEBP, GIF, "
        "BMP, TIFF, PPM (cat/b.heic, cat/c.pdf, cat/empty, ...)"
    )


def test_a_folder_without_an_image_says_what_is_there(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"ftypheic")
    with pytest.raises(SamplesError) as caught:
        images_in(tmp_path)
    one_line(caught, "found none", "a.heic")


def test_half_of_the_images_under_another_name_change_nothing(tmp_path):
    for i in range(6):
        write_image(tmp_path / "a" / "cat" / f"{i}.jpg", "JPEG")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for i in range(3):
        (tmp_path / "b" / "cat" / f"{i}.jpg").rename(tmp_path / "b" / "cat" / f"{i}.jfif")
    assert len(ImageFolder(str(tmp_path / "b"))) == 3
    assert len(open_samples(tmp_path / "b", IMAGES)) == 6
