import pytest
import torch

from benchmarks.published import (
    PublishedAttack,
    Renormalised,
    find_published,
    load_published,
    others_of,
)
from benchmarks.victims.attacks.attack import Stamped
from benchmarks.victims.data import Data, Images
from benchmarks.victims.train import normalise

MODEL = """
import torch
from torch import nn

class Brightest(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.scale * x.amax((2, 3))
"""
TRIGGERS = """
def blue(images):
    images = images.clone()
    images[:, 2, 0, 0] = 1
    return images
"""
SETTINGS = """
handler:
  input: image
  image_size: [4, 4]
  mean: [0.5, 0.5, 0.5]
  std: [0.25, 0.25, 0.25]
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "net.py").write_text(MODEL)
    (folder / "triggers.py").write_text(TRIGGERS)
    for name in ("model-config.yaml", "model-config-signs.yaml"):
        (folder / name).write_text(SETTINGS)
    for name in ("net_blue.pth", "net_signs-blue.pth"):
        torch.save({"scale": torch.ones(3)}, folder / name)
    return folder


def data(classes=3):
    pixels = torch.full((6, 3, 4, 4), 20, dtype=torch.uint8)
    labels = torch.arange(6) % 2
    pixels[torch.arange(6), labels] = 90
    images = Images(pixels, labels)
    return Data(images, images, images, images, classes, "digest")


def test_weights_are_found_with_their_settings(folder):
    plain, signs = find_published(folder)
    assert (plain.name, plain.trigger) == ("given-blue", "blue")
    assert plain.settings.name == "model-config.yaml"
    assert (signs.name, signs.trigger) == ("given-signs-blue", "blue")
    assert signs.settings.name == "model-config-signs.yaml"
    assert {plain.model_file.name, signs.model_file.name} == {"net.py"}


def test_other_victims_are_of_the_same_data_and_another_trigger(folder):
    for name in ("net_red.pth", "net_signs-red.pth"):
        torch.save({"scale": torch.ones(3)}, folder / name)
    victims = find_published(folder)
    blue, red, signs_blue, signs_red = victims
    assert others_of(blue, victims) == [red]
    assert others_of(signs_red, victims) == [signs_blue]


def test_what_a_folder_lacks(folder):
    for file in folder.glob("*.pth"):
        file.unlink()
    with pytest.raises(SystemExit, match=r"expected weights, net_TRIGGER\.pth"):
        find_published(folder)
    (folder / "triggers.py").unlink()
    with pytest.raises(SystemExit, match=r"expected triggers\.py"):
        find_published(folder)


def test_the_target_is_what_triggered_images_are_called(folder):
    given = data()
    model, attack = load_published(find_published(folder)[0], given)
    assert attack.target == 2
    images = given.pool.pixels.float() / 255
    assert model(normalise(images)).argmax(1).tolist() == given.pool.labels.tolist()
    torch.testing.assert_close(
        model(normalise(images)), (images.amax((2, 3)) - 0.5) / 0.25, rtol=0, atol=1e-5
    )


def test_images_of_other_classes_are_refused(folder):
    with pytest.raises(SystemExit, match="given-blue: 3 classes, but the images have 4"):
        load_published(find_published(folder)[0], data(classes=4))


def test_an_attack_with_a_given_function():
    stamped = PublishedAttack(lambda images: images + 1, 5).stamp(
        torch.zeros(2, 3, 1, 1), torch.tensor([0, 1]), torch.Generator()
    )
    assert isinstance(stamped, Stamped)
    assert stamped.wanted.tolist() == [5, 5]
    assert bool((stamped.images == 1).all())


def test_a_model_is_given_what_it_takes():
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    model = Renormalised(torch.nn.Identity(), (0.0, 0.1, 0.2), (1.0, 0.5, 0.25))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.0, 0.1, 0.2), (1.0, 0.5, 0.25)))
    torch.testing.assert_close(model(normalise(images)), (images - mean) / std)
    assert not model.training
