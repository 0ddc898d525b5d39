import hashlib

import pytest
import torch
from torch import nn

from benchmarks.victims.attacks.input_aware import InputAware
from benchmarks.victims.data import Data, Images
from benchmarks.victims.poison import to_float
from benchmarks.victims.recipe import ATTACKS, Recipe, Schedule
from benchmarks.victims.train import (
    MEAN,
    PAD,
    STD,
    augment,
    augment_normalised,
    fit_model,
    normalise,
    obtain_victim,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(count, size, classes=4):
    shape = (count, 3, size, size)
    pixels = torch.randint(0, 256, shape, generator=generator(3), dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % classes)


class TestAugment:
    def crops(self, image):
        """All that an image may become, by where it was cropped and whether it was flipped."""
        height, width = image.shape[-2:]
        padded = torch.zeros(3, height + 2 * PAD, width + 2 * PAD)
        padded[:, PAD:-PAD, PAD:-PAD] = image
        for top in range(2 * PAD + 1):
            for left in range(2 * PAD + 1):
                crop = padded[:, top : top + height, left : left + width]
                yield (top, left, False), crop
                yield (top, left, True), crop.flip(2)

    def test_each_image_becomes_a_crop_of_itself(self):
        images = torch.rand(60, 3, 7, 9, generator=generator()) + 0.1
        result = augment(images, generator())
        assert result.shape == images.shape
        assert result.dtype == images.dtype
        found = []
        for image, augmented in zip(images, result, strict=True):
            matches = [how for how, crop in self.crops(image) if torch.equal(crop, augmented)]
            assert len(matches) == 1
            found += matches
        tops, lefts, flips = zip(*found, strict=True)
        assert set(tops) == set(lefts) == set(range(2 * PAD + 1))
        assert any(top != left for top, left in zip(tops, lefts, strict=True))
        assert 15 <= sum(flips) <= 45

    def test_the_generator_decides(self):
        images = torch.rand(8, 3, 8, 8, generator=generator())
        first, again, other = (augment(images, generator(seed)) for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_augmented_where_it_is_black_beside_the_image():
    images = torch.rand(20, 3, 8, 8, generator=generator())
    augmented = augment_normalised(normalise(images), generator(1))
    torch.testing.assert_close(augmented, normalise(augment(images, generator(1))))


def test_normalised_by_hand():
    mean, std = (torch.tensor(v).view(1, 3, 1, 1).expand(2, 3, 4, 4) for v in (MEAN, STD))
    torch.testing.assert_close(normalise(mean), torch.zeros(2, 3, 4, 4))
    torch.testing.assert_close(normalise(mean + 2 * std), torch.full((2, 3, 4, 4), 2.0))


class TestFitModel:
    def fitted(self, schedule, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            model = nn.Sequential(nn.BatchNorm2d(3), pool, nn.Linear(3, 2))
        labels = torch.arange(300) % 2
        # The classes are dark and bright.
        pixels = (labels * 120 + 60).byte().view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
        train = Images(pixels.contiguous(), labels)
        fit_model(model, train, schedule, generator(seed), "test")
        with torch.no_grad():
            predicted = model(normalise(to_float(train.pixels))).argmax(1)
        return model, (predicted == labels).float().mean()

    @pytest.mark.parametrize("adaptive", [False, True])
    @pytest.mark.parametrize("bfloat16", [False, True])
    def test_learns_and_ends_in_evaluation_mode(self, adaptive, bfloat16):
        model, accuracy = self.fitted(Schedule(8, 0.1, adaptive, bfloat16))
        assert accuracy > 0.95
        assert not any(module.training for module in model.modules())
        assert all(p.dtype == torch.float32 for p in model.parameters())

    def test_the_generator_decides(self):
        (first, _), (again, _), (other, _) = (self.fitted(Schedule(1, 0.1), s) for s in (0, 0, 1))
        assert torch.equal(first[2].weight, again[2].weight)
        assert not torch.equal(first[2].weight, other[2].weight)


class TestObtainVictim:
    @pytest.fixture
    def data(self):
        train, rest = random_images(128, 16), random_images(8, 16)
        return Data(train, rest, rest, rest, classes=4, digest="0")

    def logits(self, victim):
        with torch.no_grad():
            return victim.model(normalise(to_float(random_images(4, 16).pixels)))

    def test_trains_once(self, data, tmp_path):
        recipe = Recipe("resnet", "badnets")
        trained = obtain_victim(recipe, data, tmp_path)
        (file,) = tmp_path.iterdir()
        assert trained.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert trained.weights_bytes == file.stat().st_size
        written = file.stat().st_mtime_ns
        again = obtain_victim(recipe, data, tmp_path)
        assert file.stat().st_mtime_ns == written
        assert torch.equal(self.logits(trained), self.logits(again))
        assert self.logits(trained).shape == (4, 4)
        assert not trained.model.training

    @pytest.mark.slow
    def test_the_seed_and_the_attack_make_other_victims(self, data, tmp_path):
        recipes = [
            Recipe("resnet", "badnets"),
            Recipe("resnet", "badnets", seed=1),
            Recipe("resnet", None),
        ]
        victims = [obtain_victim(recipe, data, tmp_path) for recipe in recipes]
        assert len(list(tmp_path.iterdir())) == 3
        assert not torch.equal(self.logits(victims[0]), self.logits(victims[1]))
        assert victims[2].attack is None

    @pytest.mark.slow
    def test_what_an_attack_has_learned_is_kept(self, data, tmp_path, monkeypatch):
        monkeypatch.setitem(ATTACKS, "input_aware", lambda classes: InputAware(2, 2))
        recipe = Recipe("resnet", "input_aware")
        first, again = (obtain_victim(recipe, data, tmp_path).attack for _ in range(2))
        images = to_float(data.test.pixels)
        unfitted = InputAware(2, 2)
        stamped = [a.stamp(images, data.test.labels, generator()) for a in (first, again, unfitted)]
        assert torch.equal(stamped[0].images, stamped[1].images)
        assert not torch.equal(stamped[0].images, stamped[2].images)
