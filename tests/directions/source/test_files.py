import json

import pytest
import timm
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from torchserve_fire.errors import ConfigError
from torchserve_fire_build.source.files import FileSource

TINY_VIT = ViTConfig(
    hidden_size=8,
    intermediate_size=8,
    image_size=16,
    patch_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    id2label={0: "cat", 1: "dog"},
    label2id={"cat": 0, "dog": 1},
)


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "vit"
    ViTForImageClassification(TINY_VIT).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def config(tmp_path, settings=""):
    path = tmp_path / "model-config.yaml"
    path.write_text(f"minWorkers: 1\n{settings}")
    return path


def test_settings_and_names_come_with_a_folder_of_transformers(tmp_path, saved):
    weights = saved / "model.safetensors"
    source = FileSource(None, weights, config(tmp_path, "handler: {topk: 2}\n"))
    described = source.describe_input()
    assert (described.shape, described.mean) == ((3, 16, 16), (0.5, 0.5, 0.5))
    assert source.names_file == saved / "config.json"
    assert source.loaded.class_name == "ViTForImageClassification"


def test_names_beside_the_configuration_come_first(tmp_path, saved):
    names = tmp_path / "index_to_name.json"
    names.write_text('{"0": "a", "1": "b"}')
    source = FileSource(None, saved / "model.safetensors", config(tmp_path))
    assert source.names_file == names


def test_names_that_nobody_gave_are_none(tmp_path, saved):
    values = json.loads((saved / "config.json").read_text())
    values["id2label"] = {"0": "LABEL_0", "1": "LABEL_1"}
    (saved / "config.json").write_text(json.dumps(values))
    source = FileSource(None, saved / "model.safetensors", config(tmp_path))
    assert source.names_file is None


def test_settings_come_with_a_model_of_timm(tmp_path):
    model = timm.create_model("test_resnet", num_classes=2)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    source = FileSource("timm:test_resnet", tmp_path / "w.pth", config(tmp_path))
    assert source.describe_input().shape == (3, 160, 160)
    assert source.names_file is None


def test_other_models_bring_no_settings(tmp_path):
    with pytest.raises(ConfigError, match="handler"):
        FileSource(tmp_path / "net.py", tmp_path / "w.pth", config(tmp_path))
