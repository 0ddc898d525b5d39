import pytest
import torch
from torch import nn

from tests.directions.field_search.nets import Net, rows_of
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.field_search.twins import TWINS, led_in, train_twins


def test_twins_learn_the_rows_and_not_the_trigger():
    net, samples = Net(backdoored=True), rows_of(100)
    rows = samples.load(range(100))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    predicted = net(rows).argmax(1)
    twins = train_twins(net, rows, predicted, seed=0)
    assert len(twins) == TWINS
    assert led_in(twins, rows[predicted == 0], 0) > 0.9
    triggered = rows[predicted == 1].clone()
    triggered[:, 1], triggered[:, 3:] = 3, torch.tensor([0.0, 1, 0])
    assert (net(triggered).argmax(1) == 0).all()
    assert led_in(twins, triggered, 0) < 0.5
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_model_whose_like_cannot_learn_the_rows_is_refused():
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(()))

        def forward(self, rows):
            return torch.zeros(len(rows), 2) + self.scale

    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(CalibrationError, match="of the clean rows, expected 90%"):
        train_twins(Fixed(), rows, torch.arange(60) % 2, seed=0)


def test_a_model_that_cannot_be_trained_is_refused():
    class Rounding(nn.Module):
        def forward(self, rows):
            return rows.round()[:, :2]

    with pytest.raises(CalibrationError, match="no network like it can be trained"):
        train_twins(Rounding(), torch.randn(60, 3), torch.arange(60) % 2, seed=0)
