import json

import pytest
import torch
from safetensors.torch import save_file

from torchserve_fire.errors import ModelError
from torchserve_fire.model.checkpoint import read_checkpoint
from torchserve_fire.model.sharded_weights import shard_files


@pytest.fixture
def index(tmp_path):
    save_file({"a": torch.ones(2), "b": torch.zeros(2)}, tmp_path / "m-1.safetensors")
    save_file({"c": torch.full((1,), 3.0)}, tmp_path / "m-2.safetensors")
    return write(tmp_path, {"a": "m-1.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"})


def write(folder, weight_map):
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), "utf-8-sig")
    return path


def refusal(path):
    with pytest.raises(ModelError) as raised:
        read_checkpoint(path)
    assert str(raised.value).splitlines() == [str(raised.value)]
    return str(raised.value)


def test_the_tensors_of_all_files(index):
    weights = read_checkpoint(index).dictionaries[""]
    assert {name: tensor.tolist() for name, tensor in weights.items()} == {
        "a": [1, 1],
        "b": [0, 0],
        "c": [3],
    }
    assert [path.name for path in shard_files(index)] == ["m-1.safetensors", "m-2.safetensors"]


def test_a_tensor_that_another_file_holds_is_not_taken_for_it(index, tmp_path):
    save_file({"c": torch.ones(1)}, tmp_path / "m-2.safetensors")
    write(tmp_path, {"a": "m-1.safetensors", "c": "m-2.safetensors", "b": "m-2.safetensors"})
    assert "m-2.safetensors lacks the tensor 'b'" in refusal(index)


def test_a_missing_file(index, tmp_path):
    (tmp_path / "m-2.safetensors").unlink()
    assert "names m-2.safetensors, which is not beside it" in refusal(index)


@pytest.mark.parametrize("file", ["../w.safetensors", "/w.safetensors", 5, None])
def test_files_elsewhere_are_not_read(tmp_path, file):
    assert "names files beside it" in refusal(write(tmp_path, {"a": file}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', "5"])
def test_no_index(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    assert "expected an index of safetensors" in refusal(path)
