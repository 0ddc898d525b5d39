import pytest
import torch
from torch import nn

from torchserve_fire.errors import AttachError
from torchserve_fire.format.bundle import INPUT_LAYER, Detection, Layer
from torchserve_fire.format.correction_forms import Warp
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.unwarp import Unwarp

INPUTS = torch.arange(24.0).view(1, 2, 3, 4)


def moves(down=0.0, right=0.0, size=(3, 4)):
    return torch.stack((torch.full(size, down), torch.full(size, right)))


def test_what_nothing_moves_stays():
    assert torch.allclose(Unwarp(Warp(moves(), 1.0))(INPUTS), INPUTS, atol=1e-5)


def test_values_come_back_from_where_they_were_moved():
    # The trigger moves the image down by one row; its last row is lost, and filled in.
    triggered = INPUTS.roll(1, 2)
    back = Unwarp(Warp(moves(down=1), 1.0))(triggered)
    torch.testing.assert_close(back[:, :, :2], INPUTS[:, :, :2])
    torch.testing.assert_close(back[:, :, 2], triggered[:, :, 2])


def test_between_two_places_is_their_mean():
    half = Unwarp(Warp(moves(right=1), 0.5))(INPUTS)
    torch.testing.assert_close(half[..., :3], (INPUTS[..., :3] + INPUTS[..., 1:]) / 2)


def test_each_place_has_moves_of_its_own():
    turned = torch.zeros(2, 3, 3)
    # A turn by 180 degrees: the value of (0, 0) is at (2, 2) now, and so on.
    turned[0] = 2 - 2 * torch.arange(3.0)[:, None]
    turned[1] = 2 - 2 * torch.arange(3.0)
    inputs = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Unwarp(Warp(turned, 1.0))(inputs.flip(2, 3)), inputs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_stays(dtype):
    inputs = INPUTS.to(dtype)
    back = Unwarp(Warp(moves(right=1), 1.0))(inputs)
    assert back.dtype == dtype
    torch.testing.assert_close(back[..., :3], inputs[..., 1:], atol=1e-4, rtol=1e-2)


class Net(nn.Module):
    """Predicts 1 where the lower half is brighter than the upper one, else 0."""

    def __init__(self):
        super().__init__()
        self.body = nn.Identity()
        self.sizes = []
        self.eval()

    def forward(self, x):
        self.sizes.append(len(x))
        rows = self.body(x).mean((1, 3))
        return torch.stack((rows[:, 0], rows[:, -1]), 1)


TURN = torch.zeros(2, 2, 2)
TURN[0] = torch.tensor([[1.0, 1], [-1, -1]])
DETECTS = Layer("body", (1, 2, 2), Detection(torch.tensor([[[-1.0, -1], [1, 1]]]), 0.5, True))
REPAIRS = Layer(INPUT_LAYER, (1, 2, 2), correction=Warp(TURN, 1.0))
ONE = torch.zeros(1, 1, 2, 2)
BATCH = torch.tensor([[[[3.0, 2], [1, 0]]], [[[1.0, 0], [3, 2]]], [[[2.0, 2], [2, 2.2]]]])
"""One that is upright, one that is upside down, and one that is hardly so."""


def test_what_a_layer_flags_is_moved_back_in_a_second_pass():
    net = Net()
    plain = net(BATCH)
    with attach_layers(net, [DETECTS, REPAIRS], ONE, target=1) as handle:
        net.sizes.clear()
        found = net(BATCH)
        assert handle.verdict.flagged.tolist() == [False, True, False]
        assert (handle.passes, net.sizes) == (2, [3, 1])
        torch.testing.assert_close(found[1], plain[0])
        assert torch.equal(found[[0, 2]], plain[[0, 2]])
        assert torch.equal(net(BATCH[:1]), plain[:1])
    assert torch.equal(net(BATCH), plain)


def test_to_observe_changes_nothing():
    net = Net()
    plain = net(BATCH)
    with attach_layers(net, [DETECTS, REPAIRS], ONE, target=1, mode="observe") as handle:
        assert torch.equal(net(BATCH), plain)
        assert handle.verdict.flagged.tolist() == [False, True, False]


@pytest.mark.parametrize(
    "layers",
    [
        [REPAIRS],
        [Layer(INPUT_LAYER, (1, 2, 2), DETECTS.detection, REPAIRS.correction)],
    ],
)
def test_a_layer_must_detect_for_it(layers):
    with pytest.raises(AttachError, match="by a warp what a layer of the same repair detects"):
        attach_layers(Net(), layers, ONE, target=1)


def test_an_input_of_another_shape_is_refused():
    other = Layer(INPUT_LAYER, (1, 3, 3), correction=Warp(torch.zeros(2, 3, 3), 1.0))
    with pytest.raises(AttachError, match=r"the model's input holds no tensor \(N, 1, 3, 3\)"):
        attach_layers(Net(), [DETECTS, other], ONE, target=1)
