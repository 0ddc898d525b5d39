import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.directions.backdoored import TENSOR, write_tensors
from tests.directions.messages import one_line
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.open_samples import open_samples


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_tensor_files_are_read(tmp_path, suffix):
    inputs = torch.arange(12).view(3, 2, 2) / 7
    path = write_tensors(tmp_path / f"s{suffix}", inputs, torch.tensor([2, 0, 1]))
    samples = open_samples(path, TENSOR)
    assert len(samples) == 3
    assert samples.class_names is None
    assert samples.labels.tolist() == [2, 0, 1]
    assert torch.equal(samples.load([2, 0]), inputs[[2, 0]])
    assert samples.description.shape == (2, 2)
    assert samples.description.kind == "tensor"


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


def write_named(path, inputs, names):
    if path.suffix == ".npz":
        np.savez(path, inputs=inputs.numpy(), names=np.array(names))
    else:
        save_file({"inputs": inputs}, path, {"names": json.dumps(names)})
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_rows_may_have_names(tmp_path, suffix):
    path = write_named(tmp_path / f"s{suffix}", torch.zeros(2, 3), ["a", "Zürich"])
    samples = open_samples(path, TENSOR)
    assert samples.names == ["a", "Zürich"]
    assert not samples.numbered


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("names", [["a"], ["a", "a"], [1, 2]])
def test_names_that_are_not_one_of_each_row_are_refused(tmp_path, suffix, names):
    path = write_named(tmp_path / f"s{suffix}", torch.zeros(2, 3), names)
    with pytest.raises(SamplesError) as caught:
        open_samples(path, TENSOR)
    one_line(caught, str(path), "names", "expected a text for each input")


def test_names_that_are_no_json_are_refused(tmp_path):
    save_file({"inputs": torch.zeros(1, 3)}, tmp_path / "s.safetensors", {"names": "a"})
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path / "s.safetensors", TENSOR)
    one_line(caught, "s.safetensors", "JSON list")


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
def test_arrays_that_cannot_be_used_are_refused(tmp_path, arrays, named):
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path / "s.npz", TENSOR)
    one_line(caught, "s.npz", named)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not one", b"PK\x03\x04 damaged", b"\x80\x04N."])
def test_damaged_files_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"s{suffix}"
    path.write_bytes(content)
    with pytest.raises(SamplesError) as caught:
        open_samples(path, TENSOR)
    one_line(caught, f"s{suffix}")


def test_a_truncated_file_is_refused(tmp_path):
    for suffix in (".npz", ".safetensors"):
        path = write_tensors(tmp_path / f"s{suffix}", torch.zeros(8, 8))
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(SamplesError) as caught:
            open_samples(path, TENSOR)
        one_line(caught, f"s{suffix}")


def test_bfloat16_tensors_are_read(tmp_path):
    save_file({"inputs": torch.ones(2, 2, dtype=torch.bfloat16)}, tmp_path / "s.safetensors")
    assert open_samples(tmp_path / "s.safetensors", TENSOR).load([0]).tolist() == [[1, 1]]


@pytest.mark.parametrize("name", ["nowhere.npz", "folder", "s.json"])
def test_a_path_that_is_not_a_file_of_tensors_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "s.json").write_text(json.dumps([1]))
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path / name, TENSOR)
    one_line(caught, name, "expected a .npz or .safetensors file")


def test_a_folder_of_tensor_files_is_read(tmp_path):
    write_tensors(tmp_path / "b.npz", torch.tensor([[3.0, 4.0]]))
    write_tensors(tmp_path / "a.safetensors", torch.tensor([[1.0, 2.0], [5.0, 6.0]]))
    (tmp_path / ".c.part").write_bytes(b"half")
    samples = open_samples(tmp_path, TENSOR)
    assert list(samples.names) == ["a.safetensors:0", "a.safetensors:1", "b.npz:0"]
    assert samples.load([2, 0]).tolist() == [[3, 4], [1, 2]]
    assert samples.description.shape == (2,)


def test_tensor_files_of_different_shapes_in_a_folder_are_refused(tmp_path):
    write_tensors(tmp_path / "a.npz", torch.zeros(1, 2))
    write_tensors(tmp_path / "b.npz", torch.zeros(1, 3))
    with pytest.raises(SamplesError) as caught:
        open_samples(tmp_path, TENSOR)
    one_line(caught, "b.npz", "(3,), expected (2,) as in a.npz")
