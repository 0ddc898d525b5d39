import io

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from torchserve_fire.errors import ModelError
from torchserve_fire.model.config import parse_config
from torchserve_fire.model.load_model import load_model
from torchserve_fire.model.own_settings import own_settings, with_own_settings
from torchserve_fire.model.preprocess import image_to_tensor

NAME = "timm:test_resnet"


def weights(tmp_path, prefix="", **sizes):
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", **sizes).eval()
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    return model, tmp_path / "w.pth"


def test_a_model_by_its_name_has_the_classes_of_its_weights(tmp_path):
    model, path = weights(tmp_path, "module.", num_classes=7)
    loaded = load_model(NAME, path)
    inputs = torch.randn(2, 3, 64, 64)
    assert torch.equal(loaded.model(inputs), model(inputs))
    assert loaded.model(inputs).shape == (2, 7)
    assert loaded.class_name == "ResNet"
    assert not loaded.model.training


def test_a_greyscale_model(tmp_path):
    _, path = weights(tmp_path, in_chans=1)
    assert load_model(NAME, path).model(torch.zeros(1, 1, 64, 64)).shape == (1, 1000)


@pytest.mark.parametrize("name", [NAME, "timm:resnet18", "timm:vit_base_patch16_224.augreg_in1k"])
def test_images_are_prepared_as_timm_does_it_to_the_bit(tmp_path, name):
    settings = own_settings(name, tmp_path / "w.pth")
    described = parse_config(with_own_settings({}, settings)).describe_input()
    known = timm.get_pretrained_cfg(name.removeprefix("timm:")).to_dict()
    transform = create_transform(**resolve_data_config(pretrained_cfg=known))
    pixels = np.random.default_rng(0).integers(0, 256, (300, 411, 3), dtype=np.uint8)
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.save(file, "PNG")
    assert torch.equal(image_to_tensor(file.getvalue(), described), transform(image))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet81", "no model of that name; the nearest are resnet"),
        ("timm:hf-hub:some/where", "no model of that name"),
        ("timm:local-dir:/tmp", "no model of that name"),
        ("timm:../x", "no model of that name"),
        ("timm:", "no model of that name"),
    ],
)
def test_a_name_that_timm_has_not(tmp_path, name, said):
    _, path = weights(tmp_path)
    for run in (load_model, own_settings):
        with pytest.raises(ModelError, match=said) as raised:
            run(name, path)
        assert str(raised.value).splitlines() == [str(raised.value)]


def test_weights_of_another_model(tmp_path):
    _, path = weights(tmp_path)
    with pytest.raises(
        ModelError, match=r"timm:test_vit, .*w\.pth: the weights .* lack 'cls_token'"
    ):
        load_model("timm:test_vit", path)


def test_without_timm_the_command_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    _, path = weights(tmp_path)
    with pytest.raises(ModelError, match="pip install timm"):
        load_model(NAME, path)
