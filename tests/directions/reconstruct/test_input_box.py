import torch

from tests.directions.reconstruct.patch_net import unit_box
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.reconstruct.input_box import input_box

IMAGE = InputDescription("image", (2, 1, 1), (0.5, 0.0), (0.5, 0.1))


def test_images_reach_from_black_to_white():
    box = input_box(IMAGE, torch.zeros(3, 2, 1, 1))
    assert box.low.flatten().tolist() == [-1, 0]
    assert box.high.flatten().tolist() == [1, 10]
    assert box.width.flatten().tolist() == [2, 10]


def test_legal_images_are_those_of_8_bits():
    box = input_box(IMAGE, torch.zeros(3, 2, 1, 1))
    inputs = torch.tensor([[-3.0, 0.01], [0.0021, 12.0]]).view(2, 2, 1, 1)
    # In units of the box -1, .001; .50105, 1.2: levels 0, .255; 127.77, 306.
    expected = torch.tensor([[-1, 0], [2 * 128 / 255 - 1, 10]]).view(2, 2, 1, 1)
    torch.testing.assert_close(box.legal(inputs), expected)
    torch.testing.assert_close(box.legal(box.legal(inputs)), box.legal(inputs))


def test_the_box_of_tensors_is_the_range_of_the_clean_ones():
    inputs = torch.tensor([[[1.0, 2], [5, 5]], [[0, 3], [5, 5]]])
    box = input_box(InputDescription("tensor", (2, 2)), inputs)
    assert box.low.flatten().tolist() == [0, 5]
    assert float(box.high[0]) == 3
    assert float(box.width[1]) > 0
    assert box.legal(torch.full((1, 2, 2), 2.7)).tolist()[0][0] == torch.tensor([2.7] * 2).tolist()


def test_a_channel_that_never_varies_has_a_width_whatever_its_value():
    values = torch.tensor([0.0, 5, 100, -100, 1e6, -3e7])
    inputs = values.view(1, -1, 1, 1).expand(3, -1, 2, 2)
    box = input_box(InputDescription("tensor", (6, 2, 2)), inputs)
    assert bool((box.width > 0).all())
    assert bool((box.width.flatten() <= 1e-5 * values.abs().clamp(min=1)).all())
    assert bool((((inputs - box.low) / box.width) == 0).all())


def test_vectors_have_one_range():
    box = input_box(InputDescription("tensor", (3,)), torch.tensor([[1.0, -2, 5], [0, 3, 4]]))
    assert (float(box.low), float(box.high)) == (-2, 5)
    assert box.clamp(torch.tensor([[-9.0, 0, 9]])).tolist() == [[-2, 0, 5]]


def test_clamp_changes_nothing_inside():
    inputs = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(unit_box().clamp(inputs), inputs)
