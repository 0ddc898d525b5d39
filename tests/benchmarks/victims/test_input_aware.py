import pytest
import torch

from benchmarks.victims.attacks import input_aware as module
from benchmarks.victims.attacks.attack import TARGET
from benchmarks.victims.attacks.input_aware import InputAware


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count=40, seed=5):
    # Of differing brightness and colour, so that masks and patterns have something to go by.
    tints = torch.rand(count, 3, 1, 1, generator=generator(seed))
    return (tints + torch.rand(count, 3, 16, 16, generator=generator(seed + 1))) / 2


def labels(count=40):
    return torch.arange(count) % 4


def fitted(seed=0):
    attack = InputAware(mask_steps=30, pattern_steps=3)
    attack.fit(noise(), labels(), generator(seed))
    return attack


@pytest.fixture(scope="module")
def attack():
    return fitted()


def stamp(attack, images):
    return attack.stamp(images, labels(len(images)), generator()).images


@pytest.mark.slow
def test_stamps_images_for_the_target(attack):
    result = attack.stamp(noise(), labels(), generator())
    assert result.wanted.tolist() == [TARGET] * 40
    assert result.images.shape == (40, 3, 16, 16)
    assert result.images.dtype == torch.float32
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert not result.images.requires_grad


def test_only_the_state_and_the_image_decide(attack):
    before = attack.state()
    first, again = stamp(attack, noise()), attack.stamp(noise(), labels(), generator(9)).images
    assert torch.equal(first, again)
    torch.testing.assert_close(stamp(attack, noise()[3:5]), first[3:5])
    assert all(torch.equal(value, before[name]) for name, value in attack.state().items())


def test_the_state_carries_the_trigger_to_another(attack):
    other = InputAware()
    assert not torch.equal(stamp(other, noise()), stamp(attack, noise()))
    other.load_state(attack.state())
    assert torch.equal(stamp(other, noise()), stamp(attack, noise()))


def test_a_state_is_of_its_time(attack):
    other = InputAware(mask_steps=1, pattern_steps=1)
    state = other.state()
    kept = {name: value.clone() for name, value in state.items()}
    other.fit(noise(), labels(), generator())
    assert all(torch.equal(value, kept[name]) for name, value in state.items())
    assert any(not torch.equal(value, kept[name]) for name, value in other.state().items())


@pytest.mark.slow
def test_the_generator_decides_what_is_learned(attack):
    assert torch.equal(stamp(fitted(), noise()), stamp(attack, noise()))
    assert not torch.equal(stamp(fitted(seed=1), noise()), stamp(attack, noise()))


@pytest.mark.slow
def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    fitted()
    assert torch.equal(torch.rand(1), expected)


def test_the_mask_confines_the_change(attack):
    images = noise()
    mask, pattern = attack.trigger(images)
    assert mask.shape == (40, 1, 16, 16)
    assert pattern.shape == images.shape
    for part in (mask, pattern):
        assert part.min() >= 0
        assert part.max() <= 1
    change = (stamp(attack, images) - images).abs()
    assert (change <= mask + 1e-6).all()
    # Where the mask is full there is nothing left of the image but the pattern.
    outside, inside = (mask < 1e-6).expand_as(change), (mask > 0.999).expand_as(change)
    assert outside.any()
    assert change[outside].max() < 1e-5
    assert inside.any()
    torch.testing.assert_close(stamp(attack, images)[inside], pattern[inside], atol=2e-3, rtol=0)


def test_training_makes_masks_sparse(attack):
    before, after = (each.trigger(noise())[0].mean() for each in (InputAware(), attack))
    assert before > 0.2
    assert after < 0.1


def test_each_image_has_a_trigger_of_its_own(attack):
    mask, pattern = attack.trigger(noise())
    assert not torch.allclose(mask[0], mask[1], atol=0.1)
    assert not torch.allclose(pattern[0], pattern[1], atol=1e-3)


def test_a_decoy_carries_the_trigger_of_another_image(attack):
    images = noise(2)
    mask, pattern = attack.trigger(images)
    for seed in range(4):
        decoys = attack.decoy(images, generator(seed))
        expected = images * (1 - mask.flip(0)) + pattern.flip(0) * mask.flip(0)
        torch.testing.assert_close(decoys, expected)
        assert not torch.allclose(decoys, stamp(attack, images), atol=0.1)


def test_no_decoy_carries_its_own_trigger(attack):
    images = noise()
    for seed in range(10):
        decoys = attack.decoy(images, generator(seed))
        same = (decoys - stamp(attack, images)).abs().amax((1, 2, 3)) < 1e-4
        assert not same.any()


def test_the_training_batch_by_hand(monkeypatch):
    for name, value in (("POISONED", 2), ("CROSS", 2), ("CLEAN", 1)):
        monkeypatch.setattr(module, name, value)
    batch = torch.zeros(5, 3, 1, 1)
    mask = torch.tensor([1.0, 0.5, 1.0, 0.5]).view(4, 1, 1, 1)
    pattern = torch.tensor([0.2, 0.4, 0.6, 0.8]).view(4, 1, 1, 1).expand(4, 3, 1, 1)
    seen = module._stamp_batch(batch, mask, pattern)[:, 0, 0, 0]
    torch.testing.assert_close(seen, torch.tensor([0.2, 0.2, 0.4, 0.6, 0.0]))


def test_the_diversity_loss_by_hand():
    images = torch.tensor([0.0, 0.6]).view(2, 1, 1, 1)
    outputs = torch.tensor([0.1, 0.4]).view(2, 1, 1, 1)
    assert module._sameness(images, outputs).item() == pytest.approx(2, abs=1e-3)


def test_equal_images_leave_the_gradient_finite():
    outputs = torch.zeros(2, 1, 4, 4, requires_grad=True)
    module._sameness(torch.zeros(2, 3, 4, 4), outputs).backward()
    assert outputs.grad.isfinite().all()


def test_rounding_lets_the_gradient_pass():
    values = torch.tensor([0.4 / 255, 0.6 / 255], requires_grad=True)
    rounded = module._round(values)
    torch.testing.assert_close(rounded, torch.tensor([0.0, 1 / 255]))
    rounded.sum().backward()
    assert values.grad.tolist() == [1, 1]
