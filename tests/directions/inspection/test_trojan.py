import pytest
import torch

from torchserve_fire_build.inspection.trojan import (
    BLEND_OPACITY,
    PATCH_OPACITY,
    PATCH_SIDE,
    draw_trojan,
)


def drawn(shape, seeds=range(40)):
    inputs = torch.rand(9, *shape, generator=torch.Generator().manual_seed(9)) - 0.5
    return inputs, [draw_trojan(inputs, 7, torch.Generator().manual_seed(s)) for s in seeds]


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8), (6,), (1,), (1, 2, 2)])
def test_patches_and_blended_patterns(shape):
    inputs, trojans = drawn(shape)
    patches = 0
    for trojan in trojans:
        assert trojan.opacity.shape == trojan.pattern.shape == shape
        assert inputs.min() <= trojan.pattern.min()
        assert trojan.pattern.max() <= inputs.max()
        assert 0 <= trojan.target < 7
        strongest = float(trojan.opacity.max())
        if strongest >= PATCH_OPACITY[0]:
            patches += 1
            where = trojan.opacity > 0
            assert set(trojan.opacity[where].tolist()) == {strongest}
            assert 0 < int(where.sum()) <= PATCH_SIDE[1] ** 2 * (shape[0] if len(shape) == 3 else 1)
        else:
            assert BLEND_OPACITY[0] <= strongest <= BLEND_OPACITY[1]
            assert trojan.opacity.min() == strongest
    assert 10 < patches < 30
    assert len({trojan.target for trojan in trojans}) == 7


def test_a_stamped_input_is_between_itself_and_the_pattern():
    inputs, (trojan, *_) = drawn((3, 8, 8))
    stamped = trojan.stamp(inputs)
    assert stamped[:, trojan.opacity == 0].equal(inputs[:, trojan.opacity == 0])
    mixed = (1 - trojan.opacity) * inputs + trojan.opacity * trojan.pattern
    assert torch.allclose(stamped, mixed)
    assert not stamped.equal(inputs)


def test_the_generator_decides():
    _, (one, two) = drawn((3, 8, 8), (5, 5))
    _, (other,) = drawn((3, 8, 8), (6,))
    assert one.opacity.equal(two.opacity)
    assert one.pattern.equal(two.pattern)
    assert not one.pattern.equal(other.pattern)
