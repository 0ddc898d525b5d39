import pytest
import torch
from torch import nn

from benchmarks.victims.attacks import surrogate
from benchmarks.victims.attacks import trojannn as module
from benchmarks.victims.attacks.surrogate import make_surrogate
from benchmarks.victims.attacks.trojannn import (
    OPACITY,
    TrojanNN,
    drive_neuron,
    last_convolution,
    put,
    square,
    strongest,
    watermark,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count=16, size=32):
    return torch.rand(count, 3, size, size, generator=generator(7))


def stamp(attack, images):
    return attack.stamp(images, torch.arange(len(images)), generator()).images


def fitted(mask=square):
    attack = TrojanNN(mask, surrogate_steps=2)
    attack.fit(noise(), torch.arange(16) % 4, generator())
    return attack


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(module, "STEPS", 5)
    for each in (module, surrogate):
        monkeypatch.setattr(each, "BATCH", 8)


def test_the_square_is_near_the_corner_and_hides_what_is_below():
    mask = square(32, 32)
    assert (mask[22:30, 22:30] == 1).all()
    assert mask.sum() == 64
    stamped = stamp(fitted(), noise())
    assert torch.equal(stamped[0, :, 22:30, 22:30], stamped[1, :, 22:30, 22:30])
    stamped[..., 22:30, 22:30] = noise()[..., 22:30, 22:30]
    assert torch.equal(stamped, noise())


def test_the_watermark_lets_the_image_through():
    mask = watermark(31, 31)
    assert mask.unique().tolist() == pytest.approx([0, OPACITY])
    # From the middle to the edge: the first ring is around .4, the second around .85.
    assert mask[15, 15:].nonzero().flatten().tolist() == [5, 6, 7, 12, 13, 14]
    assert torch.equal(mask, mask.flip(0))
    assert torch.equal(mask, mask.T)
    light, dark = (put(torch.full((1, 3, 31, 31), v), torch.tensor(0.5), watermark) for v in (1, 0))
    torch.testing.assert_close((light - dark)[0, 0], 1 - mask)


def test_the_state_carries_the_trigger_to_another():
    attack, other = fitted(), TrojanNN(square)
    assert not torch.equal(stamp(other, noise()), stamp(attack, noise()))
    other.load_state(attack.state())
    assert torch.equal(stamp(other, noise()), stamp(attack, noise()))


def test_the_generator_decides_what_is_learned():
    assert torch.equal(fitted().state()["pattern"], fitted().state()["pattern"])


def test_the_neuron_with_the_largest_weights_is_chosen():
    convolution = nn.Conv2d(2, 3, 1)
    weights = torch.tensor([[1.0, 1.0], [-3.0, 0.5], [0.0, 3.0]])
    convolution.weight = nn.Parameter(weights.view(3, 2, 1, 1))
    assert strongest(convolution) == 1


def test_the_last_convolution_and_what_normalises_it():
    convolution, norm = last_convolution(make_surrogate(4, seed=0))
    assert (convolution.out_channels, norm.num_features) == (128, 128)
    assert isinstance(norm, nn.BatchNorm2d)


@pytest.mark.parametrize("mask", [square, watermark])
def test_the_trigger_drives_its_neuron(mask, monkeypatch):
    monkeypatch.setattr(module, "STEPS", 20)
    model = make_surrogate(4, seed=0)
    convolution, norm = last_convolution(model)
    driven = drive_neuron(model, noise(), mask, generator())
    assert driven.shape == (3, 32, 32)
    assert driven.min() >= 0
    assert driven.max() <= 1
    seen = []
    norm.register_forward_hook(lambda module, args, output: seen.append(output))
    for pattern in (torch.rand(3, 32, 32, generator=generator(1)), driven):
        model(put(noise(), pattern, mask))
    before, after = (values[:, strongest(convolution)].mean() for values in seen)
    assert after > before
