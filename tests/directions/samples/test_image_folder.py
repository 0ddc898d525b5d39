import os

import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from tests.directions.messages import one_line
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.preprocess import image_to_tensor
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.open_samples import open_samples

IMAGES = HandlerConfig("image", (2, 2), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def write_image(path, value=0, size=(2, 2)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def test_folders_are_classes_and_names_are_relative_paths(tmp_path):
    write_image(tmp_path / "dog" / "b.png")
    write_image(tmp_path / "cat" / "a.jpg")
    write_image(tmp_path / "cat" / "deep" / "c.PNG")
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    samples = open_samples(tmp_path, IMAGES)
    assert list(samples.names) == ["cat/a.jpg", "cat/deep/c.PNG", "dog/b.png"]
    assert list(samples.class_names) == ["cat", "cat", "dog"]
    assert samples.labels is None
    assert len(samples) == 3


def test_the_same_files_in_the_same_order_as_torchvision(tmp_path):
    for name in ("b/2.png", "b/10.png", "a/x.jpg", "a/sub/y.bmp", "C/z.webp"):
        write_image(tmp_path / name)
    theirs = ImageFolder(str(tmp_path))
    ours = open_samples(tmp_path, IMAGES)
    assert set(ours.names) == {os.path.relpath(path, tmp_path) for path, _ in theirs.samples}
    assert dict(zip(ours.names, ours.class_names, strict=True)) == {
        os.path.relpath(path, tmp_path): theirs.classes[label] for path, label in theirs.samples
    }


def test_class_folders_may_be_links_as_for_torchvision(tmp_path):
    write_image(tmp_path / "elsewhere" / "x.png")
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "cat").symlink_to(tmp_path / "elsewhere")
    assert len(ImageFolder(str(folder)).samples) == 1
    assert list(open_samples(folder, IMAGES).names) == ["cat/x.png"]


def test_a_flat_folder_has_no_classes(tmp_path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    samples = open_samples(str(tmp_path), IMAGES)
    assert samples.class_names is None
    assert samples.labels is None
    assert list(samples.names) == ["a.png", "b.png"]


def test_images_beside_folders_of_images_are_refused(tmp_path):
    write_image(tmp_path / "stray.png")
    write_image(tmp_path / "cat" / "a.png")
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path, IMAGES)
    one_line(caught, str(tmp_path), "stray.png", "cat/a.png")


def test_images_are_decoded_as_the_server_decodes_them(tmp_path):
    first = write_image(tmp_path / "a.png", 255)
    write_image(tmp_path / "b.png", 0, size=(5, 7))
    samples = open_samples(tmp_path, IMAGES)
    batch = samples.load([1, 0])
    assert batch.shape == (2, 3, 2, 2)
    assert batch.dtype == torch.float32
    assert torch.equal(batch[0], torch.full((3, 2, 2), -2.0))
    assert torch.equal(batch[1], torch.full((3, 2, 2), 2.0))
    assert torch.equal(batch[1], image_to_tensor(first.read_bytes(), samples.description))


def test_an_unreadable_image_is_named_when_it_is_read(tmp_path):
    write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbut no more")
    (tmp_path / "c.png").write_bytes(b"")
    samples = open_samples(tmp_path, IMAGES)
    samples.load([0])
    for i, name in ((1, "b.png"), (2, "c.png")):
        with pytest.raises(SamplesError) as caught:
            samples.load([i])
        one_line(caught, str(tmp_path / name))


def test_a_missing_image_is_named(tmp_path):
    path = write_image(tmp_path / "a.png")
    samples = open_samples(tmp_path, IMAGES)
    path.unlink()
    with pytest.raises(SamplesError) as caught:
        samples.load([0])
    one_line(caught, str(path))


@pytest.mark.parametrize("content", ["nothing", "empty class", "other files"])
def test_a_folder_without_images_is_refused(tmp_path, content):
    if content == "empty class":
        (tmp_path / "cat").mkdir()
    if content == "other files":
        (tmp_path / "labels.csv").write_text("")
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path, IMAGES)
    one_line(caught, str(tmp_path), "found none")


def test_a_missing_folder_or_a_file_is_refused(tmp_path):
    (tmp_path / "file.npz").write_bytes(b"")
    for name in ("nowhere", "file.npz"):
        with pytest.raises(SamplesError) as caught:
            open_samples(tmp_path / name, IMAGES)
        one_line(caught, name, "expected a folder of images")
