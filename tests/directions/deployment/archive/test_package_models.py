"""Archives of models in each form that people have them in.

Packaging loads each as a worker does.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from tests.tiny_net import trained
from torchserve_fire.errors import FireError
from torchserve_fire.model.config import load_config
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive

NET = Path(__file__).parents[3] / "tiny_net.py"


def packed(tmp_path: Path, model_file: Path | None, weights: Path, settings: str) -> Path:
    """Package a model without a bundle, and return the unpacked archive."""
    config = tmp_path / "model-config.yaml"
    config.write_text(f"minWorkers: 1\nhandler: {{mode: off{settings}}}\n")
    (tmp_path / "out").mkdir()
    inputs = ArchiveInputs("m", "1.0", model_file, weights, config)
    archive = package_archive(inputs, tmp_path / "out")
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


TINY = ", input: image, image_size: [8, 8], mean: [0, 0, 0], std: [1, 1, 1], topk: 4"


@pytest.mark.slow
def test_a_checkpoint_is_served(tmp_path: Path) -> None:
    state = {f"module.{name}": value for name, value in trained().state_dict().items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "w.pth")
    folder = packed(tmp_path, NET, tmp_path / "w.pth", TINY)
    assert (folder / "w.pth").read_bytes() == (tmp_path / "w.pth").read_bytes()


@pytest.mark.slow
def test_weights_in_several_files_are_packed_with_their_index(tmp_path: Path) -> None:
    state = trained().state_dict()
    for name, tensor in state.items():
        save_file({name: tensor}, tmp_path / f"{name}.safetensors")
    index = tmp_path / "tiny.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: f"{name}.safetensors" for name in state}}))
    folder = packed(tmp_path, NET, index, TINY)
    assert {f"{name}.safetensors" for name in state} < {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_a_folder_of_transformers_brings_its_labels_and_its_settings(tmp_path: Path) -> None:
    names = {0: "cat", 1: "dog"}
    sizes = {"hidden_size": 8, "intermediate_size": 8, "image_size": 16, "patch_size": 8}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    config = ViTConfig(**sizes, **layers, id2label=names, label2id={"cat": 0, "dog": 1})
    saved = tmp_path / "vit"
    ViTForImageClassification(config).save_pretrained(saved, max_shard_size="4KB")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(saved)
    folder = packed(tmp_path, None, saved / "model.safetensors.index.json", "")
    assert json.loads((folder / "index_to_name.json").read_text()) == {"0": "cat", "1": "dog"}
    settings = load_config(folder / "model-config.yaml")
    assert settings.image_size == (16, 16)
    assert settings.mean == (0.5, 0.5, 0.5)
    assert yaml.safe_load((folder / "model-config.yaml").read_text())["minWorkers"] == 1


@pytest.mark.slow
def test_a_model_of_timm_is_named_in_the_archive(tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", num_classes=2)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    folder = packed(tmp_path, Path("timm:test_resnet"), tmp_path / "w.pth", "")
    manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
    assert manifest["model"]["modelFile"] == "timm:test_resnet"
    assert load_config(folder / "model-config.yaml").image_size == (160, 160)


@pytest.mark.slow
def test_a_neighbour_that_was_not_packed_is_named_with_the_flag(tmp_path: Path) -> None:
    (tmp_path / "far_net.py").write_text("from .tiny_parts import TinyNet\n")
    (tmp_path / "tiny_parts.py").write_text(NET.read_text())
    torch.save(trained().state_dict(), tmp_path / "w.pth")
    with pytest.raises(FireError, match=r"No module named 'tiny_parts' .*--extra-files"):
        packed(tmp_path, tmp_path / "far_net.py", tmp_path / "w.pth", TINY)
