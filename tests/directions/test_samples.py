import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.datasets import ImageFolder

from directions.errors import SamplesError
from directions.samples import iterate, open_samples
from handler.config import HandlerConfig
from handler.preprocess import image_to_tensor
from tests.directions.backdoored import TENSOR, write_tensors

IMAGES = HandlerConfig("image", (2, 2), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def write_image(path, value=0, size=(2, 2)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    for part in parts:
        assert part in message


# Folders of images.


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


def test_images_beside_folders_of_images(tmp_path):
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
    assert torch.equal(
        batch[1], image_to_tensor(first.read_bytes(), samples.describe_input(IMAGES))
    )


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


def test_an_image_that_is_gone_is_named(tmp_path):
    path = write_image(tmp_path / "a.png")
    samples = open_samples(tmp_path, IMAGES)
    path.unlink()
    with pytest.raises(SamplesError) as caught:
        samples.load([0])
    one_line(caught, str(path))


@pytest.mark.parametrize("content", ["nothing", "empty class", "other files"])
def test_a_folder_without_images(tmp_path, content):
    if content == "empty class":
        (tmp_path / "cat").mkdir()
    if content == "other files":
        (tmp_path / "labels.csv").write_text("")
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path, IMAGES)
    one_line(caught, str(tmp_path), "found none")


def test_no_such_folder_or_a_file_in_its_place(tmp_path):
    (tmp_path / "file.npz").write_bytes(b"")
    for name in ("nowhere", "file.npz"):
        with pytest.raises(SamplesError) as caught:
            open_samples(tmp_path / name, IMAGES)
        one_line(caught, name, "expected a folder of images")


# Files of tensors.


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_tensor_files(tmp_path, suffix):
    inputs = torch.arange(12).view(3, 2, 2) / 7
    path = write_tensors(tmp_path / f"s{suffix}", inputs, torch.tensor([2, 0, 1]))
    samples = open_samples(path, TENSOR)
    assert len(samples) == 3
    assert samples.class_names is None
    assert samples.labels.tolist() == [2, 0, 1]
    assert torch.equal(samples.load([2, 0]), inputs[[2, 0]])
    assert samples.describe_input(TENSOR).shape == (2, 2)
    assert samples.describe_input(TENSOR).kind == "tensor"


def test_labels_may_be_left_out(tmp_path):
    path = write_tensors(tmp_path / "s.npz", torch.zeros(3, 2))
    assert open_samples(path, TENSOR).labels is None


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", "int32", "uint16", ">f4"])
def test_numbers_of_any_kind_become_float32(tmp_path, dtype):
    np.savez(tmp_path / "s.npz", inputs=np.arange(6).reshape(3, 2).astype(dtype))
    batch = open_samples(tmp_path / "s.npz", TENSOR).load([1, 2])
    assert batch.dtype == torch.float32
    assert batch.tolist() == [[2, 3], [4, 5]]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int16"])
def test_labels_of_any_integer_kind_become_int64(tmp_path, dtype):
    np.savez(tmp_path / "s.npz", inputs=np.zeros((2, 2)), labels=np.array([1, 0], dtype))
    labels = open_samples(tmp_path / "s.npz", TENSOR).labels
    assert labels.dtype == torch.int64
    assert labels.tolist() == [1, 0]


class _Dangerous:
    def __reduce__(self):
        return (os.mkdir, (os.environ["DANGEROUS"],))


def test_pickled_objects_are_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DANGEROUS", str(tmp_path / "was run"))
    array = np.empty(2, dtype=object)
    array[:] = [_Dangerous(), _Dangerous()]
    np.savez(tmp_path / "s.npz", inputs=array)
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path / "s.npz", TENSOR)
    one_line(caught, "s.npz")
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"labels": np.zeros(2, int)}, "expected 'inputs' and 'labels', found labels"),
        ({"x": np.zeros((2, 2))}, "found x"),
        ({"inputs": np.zeros((2, 2)), "label": np.zeros(2, int)}, "found inputs, label"),
        ({"inputs": np.zeros(2)}, "shape (2,)"),
        ({"inputs": np.float32(1)}, "shape ()"),
        ({"inputs": np.zeros((0, 2))}, "shape (0, 2)"),
        ({"inputs": np.zeros((2, 0))}, "shape (2, 0)"),
        ({"inputs": np.array([[1, np.nan]])}, "finite"),
        ({"inputs": np.array([[np.inf, 1]])}, "finite"),
        ({"inputs": np.array([[1e300, 1]])}, "finite"),
        ({"inputs": np.zeros((2, 2), bool)}, "finite numbers"),
        ({"inputs": np.zeros((2, 2), complex)}, "finite numbers"),
        ({"inputs": np.array([["a"]])}, "not a readable .npz"),
        ({"inputs": np.zeros((2, 2)), "labels": np.zeros(2)}, "labels"),
        ({"inputs": np.zeros((2, 2)), "labels": np.zeros(2, bool)}, "labels"),
        ({"inputs": np.zeros((2, 2)), "labels": np.zeros(3, int)}, "expected 2 integers"),
        ({"inputs": np.zeros((2, 2)), "labels": np.zeros((2, 1), int)}, "expected 2 integers"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, arrays, named):
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path / "s.npz", TENSOR)
    one_line(caught, "s.npz", named)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not one", b"PK\x03\x04 damaged", b"\x80\x04N."])
def test_damaged_files(tmp_path, suffix, content):
    path = tmp_path / f"s{suffix}"
    path.write_bytes(content)
    with pytest.raises(SamplesError) as caught:
        open_samples(path, TENSOR)
    one_line(caught, f"s{suffix}")


def test_a_truncated_file(tmp_path):
    for suffix in (".npz", ".safetensors"):
        path = write_tensors(tmp_path / f"s{suffix}", torch.zeros(8, 8))
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(SamplesError) as caught:
            open_samples(path, TENSOR)
        one_line(caught, f"s{suffix}")


def test_bfloat16_tensors(tmp_path):
    save_file({"inputs": torch.ones(2, 2, dtype=torch.bfloat16)}, tmp_path / "s.safetensors")
    assert open_samples(tmp_path / "s.safetensors", TENSOR).load([0]).tolist() == [[1, 1]]


@pytest.mark.parametrize("name", ["nowhere.npz", "folder", "s.json"])
def test_what_is_no_file_of_tensors(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "s.json").write_text(json.dumps([1]))
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path / name, TENSOR)
    one_line(caught, name, "expected a .npz or .safetensors file")


# Batches.


def test_iterate_goes_through_the_indices_in_order(tmp_path):
    path = write_tensors(tmp_path / "s.npz", torch.arange(10.0)[:, None])
    samples = open_samples(path, TENSOR)
    seen = list(iterate(samples, [9, 3, 4, 0, 1], batch_size=2))
    assert [list(indices) for indices, _ in seen] == [[9, 3], [4, 0], [1]]
    assert [batch.flatten().tolist() for _, batch in seen] == [[9, 3], [4, 0], [1]]
    assert list(iterate(samples, [])) == []


def test_a_folder_of_tensor_files(tmp_path):
    write_tensors(tmp_path / "b.npz", torch.tensor([[3.0, 4.0]]))
    write_tensors(tmp_path / "a.safetensors", torch.tensor([[1.0, 2.0], [5.0, 6.0]]))
    (tmp_path / ".c.part").write_bytes(b"half")
    samples = open_samples(tmp_path, TENSOR)
    assert list(samples.names) == ["a.safetensors:0", "a.safetensors:1", "b.npz:0"]
    assert samples.load([2, 0]).tolist() == [[3, 4], [1, 2]]
    assert samples.describe_input(TENSOR).shape == (2,)


def test_tensor_files_of_other_shapes_in_a_folder(tmp_path):
    write_tensors(tmp_path / "a.npz", torch.zeros(1, 2))
    write_tensors(tmp_path / "b.npz", torch.zeros(1, 3))
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path, TENSOR)
    one_line(caught, "b.npz", "(3,), expected (2,) as in a.npz")
