import argparse
import json

import pytest
from transformers import ViTImageProcessor

from torchserve_fire.errors import ConfigError
from torchserve_fire_build.commands.arguments.model import (
    add_model_arguments,
    load_settings,
    names_file,
)


@pytest.fixture
def saved(tmp_path):
    """A folder as transformers saves it, as far as it is read for settings and names."""
    folder = tmp_path / "vit"
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    (folder / "model.safetensors").touch()
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "cat", "1": "dog"}}))
    return folder


def parsed(tmp_path, *words, settings="{}"):
    (tmp_path / "model-config.yaml").write_text(f"minWorkers: 1\nhandler: {settings}\n")
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    config = str(tmp_path / "model-config.yaml")
    return parser.parse_args([*map(str, words), "--config-file", config])


def test_settings_and_names_come_with_a_folder_of_transformers(tmp_path, saved):
    args = parsed(tmp_path, "--serialized-file", saved, settings="{topk: 2}")
    assert args.serialized_file == saved / "model.safetensors"
    config = load_settings(args)
    assert (config.image_size, config.mean, config.topk) == ((16, 16), (0.5, 0.5, 0.5), 2)
    assert names_file(args) == saved / "config.json"


def test_names_beside_the_configuration_come_first(tmp_path, saved):
    names = tmp_path / "index_to_name.json"
    names.write_text('{"0": "a", "1": "b"}')
    assert names_file(parsed(tmp_path, "--serialized-file", saved)) == names


def test_names_that_nobody_gave_are_none(tmp_path, saved):
    (saved / "config.json").write_text(json.dumps({"id2label": {"0": "LABEL_0"}}))
    assert names_file(parsed(tmp_path, "--serialized-file", saved)) is None


def test_settings_come_with_a_model_of_timm(tmp_path):
    (tmp_path / "w.pth").touch()
    flags = ("--model-file", "timm:test_resnet", "--serialized-file", tmp_path / "w.pth")
    assert load_settings(parsed(tmp_path, *flags)).image_size == (160, 160)


def test_other_models_bring_no_settings(tmp_path):
    for name in ("net.py", "w.pth"):
        (tmp_path / name).touch()
    flags = ("--model-file", tmp_path / "net.py", "--serialized-file", tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="input"):
        load_settings(parsed(tmp_path, *flags))
