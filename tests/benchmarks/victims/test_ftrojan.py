import math

import torch

from benchmarks.victims.attacks.ftrojan import MAGNITUDE, FTrojan, waves


def grey(value, height, width):
    return torch.full((2, 3, height, width), value)


def change(height, width, value=0.5):
    images = grey(value, height, width)
    labels = torch.zeros(2, dtype=torch.int64)
    return FTrojan().stamp(images, labels, torch.Generator()).images - images


def in_waves(size):
    """Change rows into an orthonormal cosine transform's coefficients: the matrix, (size, size)."""
    k, n = torch.arange(size)[:, None], torch.arange(size)
    matrix = math.sqrt(2 / size) * torch.cos(math.pi * (2 * n + 1) * k / (2 * size))
    matrix[0] /= math.sqrt(2)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size), atol=1e-5, rtol=0)
    return matrix


def test_the_waves_of_four_places_by_hand():
    # Frequencies 1 and 3: squares of cos 22.5 and cos 67.5 degrees add up to 1, products cancel.
    expected = (torch.eye(4) - torch.eye(4).flip(0)) / 2
    torch.testing.assert_close(waves(4), expected, atol=1e-6, rtol=0)


def test_only_two_coefficients_rise_and_only_in_the_colours():
    # BT.601: how bright red, green and blue together are, and their two differences from it.
    to_yuv = torch.tensor([[0.299, 0.587, 0.114], [-0.147, -0.289, 0.436], [0.615, -0.515, -0.1]])
    parts = torch.einsum("yc,chw->yhw", to_yuv, change(32, 32)[0])
    transform = in_waves(32)
    coefficients = transform @ parts @ transform.T
    expected = torch.zeros(3, 32, 32)
    for colour in (1, 2):
        for frequency in (15, 31):
            expected[colour, frequency, frequency] = MAGNITUDE
    torch.testing.assert_close(coefficients, expected, atol=2e-3 * MAGNITUDE, rtol=5e-3)


def test_each_block_gets_the_same_whatever_the_image():
    one = change(32, 32)[0]
    torch.testing.assert_close(change(64, 40)[0, :, :32, :32], one, atol=1e-6, rtol=0)
    torch.testing.assert_close(change(64, 40)[1, :, 32:, :32], one, atol=1e-6, rtol=0)
    torch.testing.assert_close(change(64, 40)[1, :, 32:, 32:], one[..., :8], atol=1e-6, rtol=0)
    torch.testing.assert_close(change(32, 32, value=0.3)[0], one, atol=1e-6, rtol=0)


def test_it_is_faint():
    assert 2 / 255 < change(32, 32).abs().max() < 14 / 255
