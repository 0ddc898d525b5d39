"""Model files that are written take BackdoorBench's weights as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model

from torchserve_fire.model.load_model import load_model
from torchserve_fire_build.backdoorbench.architectures import model_file_for
from torchserve_fire_build.backdoorbench.preact_resnet import PreActResNet18
from torchserve_fire_build.backdoorbench.renamed_weights import renamed_weights


def loaded(folder: Path, name: str, classes: int, weights: dict[str, Tensor]) -> nn.Module:
    text = model_file_for(name, classes, weights)
    assert text is not None
    (folder / "model.py").write_text(text)
    save_file(weights, folder / "model.safetensors")
    return load_model(folder / "model.py", folder / "model.safetensors").model


def test_a_preactresnet18_has_the_weights_of_its_paper(tmp_path: Path) -> None:
    """Eight blocks of two convolutions, each after its normalisation; three change the width."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 3, 3)}
    inputs = 64
    for stage, outputs in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            where = f"layer{stage}.{block}"
            for number, width in ((1, inputs), (2, outputs)):
                for part in ("weight", "bias", "running_mean", "running_var"):
                    shapes[f"{where}.bn{number}.{part}"] = (width,)
                shapes[f"{where}.bn{number}.num_batches_tracked"] = ()
                shapes[f"{where}.conv{number}.weight"] = (outputs, width, 3, 3)
            if inputs != outputs:
                shapes[f"{where}.shortcut.0.weight"] = (outputs, inputs, 1, 1)
            inputs = outputs
    shapes |= {"linear.weight": (43, 512), "linear.bias": (43,)}
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    model = loaded(tmp_path, "preactresnet18", 43, weights)
    # All weights are zero, so the answer is the same whatever is asked.
    assert model(torch.ones(1, 3, 64, 64)).tolist() == [[0.0] * 43]
    # Weights that are called otherwise are told by this order.
    assert [*model.state_dict()] == [*weights]


def test_a_block_activates_before_it_convolves(tmp_path: Path) -> None:
    """Where all is negative, nothing passes the activation, and what passes beside is as it was."""
    block = PreActResNet18().layer1[0].eval()
    x = -torch.rand(1, 64, 4, 4)
    assert torch.equal(block(x), x)
    wider = PreActResNet18().layer2[0].eval()
    assert not wider(x).any()


@pytest.mark.parametrize("prefix", ["", "1."], ids=["as it is", "enlarged first"])
def test_one_of_torchvision(tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(0)
    plain = get_model("squeezenet1_1", num_classes=5).eval()
    weights = {prefix + name: tensor for name, tensor in plain.state_dict().items()}
    model = loaded(tmp_path, "squeezenet1_1", 5, weights)
    image = torch.rand(1, 3, 32, 32)
    asked = image
    if prefix:
        asked = nn.functional.interpolate(image, size=(224, 224), mode="bilinear")
    with torch.inference_mode():
        assert torch.equal(model(image), plain(asked))


@pytest.mark.parametrize("name", ["resnext29", "senet18", "fasterrcnn_resnet50_fpn", "../model"])
def test_no_other_is_known(name: str) -> None:
    assert model_file_for(name, 10, ["a"]) is None


def test_weights_are_renamed_by_their_order_if_all_shapes_are_the_same() -> None:
    one, two = torch.ones(1), torch.zeros(2)
    assert renamed_weights({"x": one, "y": two}, {"a": one, "b": two}) == {"a": one, "b": two}
    assert renamed_weights({"y": two, "x": one}, {"a": one, "b": two}) is None
    assert renamed_weights({"x": one}, {"a": one, "b": two}) is None
    assert renamed_weights({"b": two, "a": one}, {"a": one, "b": two}) is None
