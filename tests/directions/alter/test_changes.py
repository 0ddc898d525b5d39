from functools import partial

import pytest
import torch

from torchserve_fire_build.alter import changes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def dot(row=2, column=3, size=8):
    parts = torch.zeros(3, 1, size, size)
    parts[..., row, column] = 1
    return parts


@pytest.mark.parametrize(
    ("change", "low", "high"), [(changes.weaken, 0.5, 0.9), (changes.strengthen, 1.1, 1.5)]
)
def test_strength(change, low, high):
    strengths = [float(change(torch.ones(3, 1, 1, 1), generator(s)).mean()) for s in range(50)]
    assert low <= min(strengths) < max(strengths) <= high
    assert len(set(strengths)) > 40


@pytest.mark.parametrize(("share", "reach"), [(1 / 32, 1), (1 / 4, 2), (1 / 2, 4)])
def test_a_trigger_is_moved_each_way_as_far_as_the_share_and_never_stays(share, reach):
    seen = set()
    for seed in range(400):
        moved = changes.move(dot(4, 4), generator(seed), share=share)
        # All parts go together.
        assert torch.equal(moved[0], moved[2])
        assert moved.sum() == 3
        seen.add(tuple(int(i) for i in (moved[0, 0] == 1).nonzero()[0]))
    rows = {(4 + i) % 8 for i in range(-reach, reach + 1)}
    assert seen == {(row, column) for row in rows for column in rows} - {(4, 4)} or reach == 4
    assert {row for row, _ in seen} == rows


def test_what_leaves_at_one_side_enters_at_the_other():
    halved = changes.move_half(dot(6, 3), generator(), down=True)
    assert torch.equal(halved, dot(2, 3))
    assert torch.equal(changes.move_half(dot(6, 3), generator(), right=True), dot(6, 7))


def test_channels_are_recoloured_each_by_itself_and_alike_in_all_parts():
    recoloured = changes.recolour(torch.ones(3, 3, 2, 2), generator())
    gains = recoloured[0, :, 0, 0]
    assert len(set(gains.tolist())) == 3
    assert 0.4 <= float(gains.min()) <= float(gains.max()) <= 1.2
    assert torch.equal(recoloured, gains.view(3, 1, 1).expand(3, 3, 2, 2))


def test_mirror_images():
    seen = {
        tuple((changes.flip(dot(2, 3), generator(s))[0, 0] == 1).nonzero()[0].tolist())
        for s in range(20)
    }
    assert seen == {(5, 3), (2, 4)}


def test_a_larger_trigger_covers_more_and_what_is_outside_is_nothing():
    sums = [float(changes.scale(torch.ones(3, 1, 8, 8), generator(s))[0].sum()) for s in range(20)]
    # At three quarters a square of 6, with soft edges; larger ones fill the image.
    assert 30 <= min(sums) < max(sums) <= 64
    assert max(sums) == pytest.approx(64)


def test_a_blurred_dot():
    blurred = changes.blur(dot(2, 3), generator())[1, 0]
    assert blurred[1:4, 2:5].tolist() == [
        [0.0625, 0.125, 0.0625],
        [0.125, 0.25, 0.125],
        [0.0625, 0.125, 0.0625],
    ]
    assert float(blurred.sum()) == pytest.approx(1)


def test_a_shifted_image_is_reflected_at_its_edges():
    image = torch.arange(4.0).expand(1, 4, 4)
    rows = {
        tuple(changes.shift(image, generator(s), share=1 / 4)[0, 0].tolist()) for s in range(40)
    }
    assert rows == {(0, 1, 2, 3), (1, 0, 1, 2), (1, 2, 3, 2)}


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg(channels):
    image = torch.rand(channels, 16, 16, generator=generator())
    compressed = changes.compress(image, generator())
    assert compressed.shape == image.shape
    assert compressed.dtype == torch.float32
    assert not torch.equal(compressed, image)
    flat = torch.full_like(image, 0.2)
    torch.testing.assert_close(changes.compress(flat, generator()), flat, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        changes.weaken,
        changes.strengthen,
        partial(changes.move, share=1 / 2),
        changes.recolour,
        changes.flip,
        changes.scale,
        changes.blur,
        changes.keep,
    ],
)
def test_the_seed_decides(change):
    parts = torch.rand(3, 3, 8, 8, generator=generator(7))
    assert torch.equal(change(parts, generator(3)), change(parts, generator(3)))
    assert change(parts, generator(3)).shape == parts.shape
