import io
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    CLIPImageProcessor,
    ConvNextImageProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from torchserve_fire.errors import ModelError
from torchserve_fire.model.class_names import read_class_names
from torchserve_fire.model.config import parse_config
from torchserve_fire.model.load_model import load_model
from torchserve_fire.model.own_settings import own_settings, with_own_settings
from torchserve_fire.model.preprocess import image_to_tensor
from torchserve_fire.model.pretrained_folder import files_of, is_pretrained, labels_of
from torchserve_fire.repair.logits import find_logits

LABELS = {0: "cat", 1: "dog", 2: "bird"}
INPUTS = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


def vit(**fields):
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "image_size": 16, "patch_size": 8}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    labels = {"id2label": LABELS, "label2id": {name: i for i, name in LABELS.items()}}
    return ViTConfig(**(sizes | layers | labels | fields))


@pytest.fixture
def folder(tmp_path):
    ViTForImageClassification(vit()).eval().save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def logits_of(model):
    with torch.no_grad():
        return find_logits(model(INPUTS), 2)


def refusal(run, *arguments):
    with pytest.raises(ModelError) as raised:
        run(*arguments)
    assert str(raised.value).splitlines() == [str(raised.value)]
    return str(raised.value)


def rewrite(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_folder_is_loaded_as_it_was_saved(folder):
    weights = folder / "model.safetensors"
    loaded = load_model(None, weights)
    assert torch.equal(
        logits_of(loaded.model), logits_of(ViTForImageClassification.from_pretrained(folder))
    )
    assert loaded.class_name == "ViTForImageClassification"
    assert loaded.weights_sha256 is not None
    assert not loaded.model.training
    assert [path.name for path in files_of(weights)] == [
        "model.safetensors",
        "config.json",
        "preprocessor_config.json",
    ]


def test_weights_in_several_files(folder, tmp_path):
    model = ViTForImageClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "parts", max_shard_size="4KB")
    index = tmp_path / "parts" / "model.safetensors.index.json"
    loaded = load_model(None, index)
    assert torch.equal(logits_of(loaded.model), logits_of(model))
    assert loaded.weights_sha256 is None
    assert len(files_of(index)) > 3
    assert not (tmp_path / "parts" / "preprocessor_config.json").exists()
    assert own_settings(None, index) == {}


def test_half_precision_is_loaded_in_single(folder):
    ViTForImageClassification.from_pretrained(folder).half().save_pretrained(folder)
    loaded = load_model(None, folder / "model.safetensors")
    assert {tensor.dtype for tensor in loaded.model.state_dict().values()} == {torch.float32}


def test_only_a_folder_of_transformers_is_taken_for_one(folder, tmp_path):
    assert is_pretrained(folder / "model.safetensors")
    (folder / "config.json").rename(tmp_path / "config.json")
    assert not is_pretrained(folder / "model.safetensors")
    assert "expected a model file" in refusal(load_model, None, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"architectures": ["MyOwnNet"]}, "has no model MyOwnNet, and code from the folder is not"),
        ({"architectures": ["AutoTokenizer"]}, "has no model AutoTokenizer"),
        ({"architectures": ["__name__"]}, "has no model __name__"),
        ({"architectures": ["A", "B"]}, "the one class of its architectures"),
        ({"architectures": None}, "the one class of its architectures"),
        ({"num_hidden_layers": 2}, "are not those of a ViTForImageClassification: missing 'vit."),
        ({"hidden_size": 12}, "model.safetensors|cannot be loaded|mismatched"),
    ],
)
def test_what_does_not_belong_together_is_refused(folder, fields, said):
    rewrite(folder / "config.json", **fields)
    message = refusal(load_model, None, folder / "model.safetensors")
    assert any(part in message for part in said.split("|"))


def test_a_model_without_a_head_is_not_given_a_random_one(folder):
    ViTModel(vit(), add_pooling_layer=False).save_pretrained(folder)
    rewrite(folder / "config.json", architectures=["ViTForImageClassification"])
    message = refusal(load_model, None, folder / "model.safetensors")
    assert "missing 'classifier." in message


def test_labels_come_along(folder):
    assert labels_of(folder) == {"0": "cat", "1": "dog", "2": "bird"}
    assert read_class_names(folder / "config.json", 3) == [("cat",), ("dog",), ("bird",)]


def test_labels_that_nobody_gave_are_none(folder):
    rewrite(folder / "config.json", id2label={"0": "LABEL_0", "1": "LABEL_1"})
    assert labels_of(folder) == {}
    rewrite(folder / "config.json", id2label=None)
    assert labels_of(folder) == {}


PROCESSORS = {
    "squashed": ViTImageProcessor(size={"height": 16, "width": 20}),
    "cropped": CLIPImageProcessor(
        size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16}
    ),
    "small convnext": ConvNextImageProcessor(size={"shortest_edge": 16}, crop_pct=0.8),
    "large convnext": ConvNextImageProcessor(size={"shortest_edge": 384}),
    "not normalised": ViTImageProcessor(size={"height": 16, "width": 16}, do_normalize=False),
    "0 to 255": ViTImageProcessor(size={"height": 16, "width": 16}, do_rescale=False),
    "nearest": ViTImageProcessor(size={"height": 16, "width": 16}, resample=0),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_images_are_prepared_as_the_processor_does_it(folder, name):
    PROCESSORS[name].save_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder)
    settings = own_settings(None, folder / "model.safetensors")
    described = parse_config(with_own_settings({}, settings)).describe_input()
    smooth = np.linspace(0, 200, 40)[:, None, None] + np.linspace(0, 50, 60)[None, :, None]
    image = Image.fromarray((smooth + np.arange(3)).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "PNG")
    ours = image_to_tensor(file.getvalue(), described)
    theirs = processor(image, return_tensors="pt")["pixel_values"][0]
    assert ours.shape == theirs.shape
    # It resizes by another implementation, which rounds some pixels to the number beside.
    std = torch.tensor(described.std).min()
    assert (ours - theirs).abs().max() <= 1.01 / 255 / std


@pytest.mark.parametrize(
    "processor",
    [
        CLIPImageProcessor(size={"shortest_edge": 20}, do_center_crop=False),
        ViTImageProcessor(do_resize=False),
    ],
)
def test_images_of_no_one_size_are_refused(folder, processor):
    processor.save_pretrained(folder)
    message = refusal(own_settings, None, folder / "model.safetensors")
    assert "does not bring images to one size" in message


def test_a_damaged_preprocessor(folder):
    (folder / "preprocessor_config.json").write_text("{")
    assert "is no preprocessor" in refusal(own_settings, None, folder / "model.safetensors")


def test_without_transformers_the_command_is_said(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for run in (load_model, own_settings):
        assert "pip install transformers" in refusal(run, None, folder / "model.safetensors")
