import pytest
import torch
from torch import nn

from tests.directions.backdoored import loaded
from torchserve_fire.errors import AttachError
from torchserve_fire.format.bundle import Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire_build.choose.held_out import Group, HeldOut
from torchserve_fire_build.choose.trials import run_repairs
from torchserve_fire_build.common.errors import CalibrationError

CORNER = torch.tensor([0.0, 0, 0, 0, 2, 0])


def corner(strength, name="relu"):
    return Layer(name, (6,), correction=Shift(CORNER, strength))


def by_fold(scale):
    return [corner(scale * fold) for fold in range(4)]


def group(folds):
    # The fifth coordinate is 2 at "relu" where the trigger is: 50 times that is class 0's logit.
    inputs = torch.zeros(len(folds), 6)
    inputs[:, 4] = 3
    inputs[:, 1] = 1
    logits = torch.tensor([[100.0, 10, 0, 0]]).repeat(len(folds), 1)
    return Group(inputs, torch.tensor(folds), logits, None)


class Counted(nn.Module):
    """The tiny net, which counts the rows that it sees before and behind its layers."""

    def __init__(self):
        super().__init__()
        net = loaded("vector").model
        self.mix, self.relu, self.head = net.mix, net.relu, net.head
        self.before = self.behind = 0

    def forward(self, x):
        self.before += len(x)
        feature = self.relu(self.mix(x))
        self.behind += len(feature)
        return self.head(feature)


class Past(Counted):
    """Brings its input past the layers, so that the two need to have as many rows."""

    def forward(self, x):
        return super().forward(x) + 0 * x[:, :4]


class Silent(Counted):
    """As above, but where the numbers of rows do not fit it answers wrongly in place of failing."""

    def forward(self, x):
        logits = super().forward(x)
        return logits if len(logits) == len(x) else logits.flip(1)


@pytest.mark.parametrize("model", [Counted, Past, Silent])
def test_each_sample_is_run_with_its_folds_layers_and_the_others_are_left(model):
    held_out = HeldOut(group([0, 3, 1, 1]), group([2, 0, 0, 2]))
    model = model().eval()
    results = run_repairs(
        model,
        held_out,
        [by_fold(0.25), by_fold(0.125), by_fold(0.0)],
        clean=torch.tensor([False, True, True, True]),
        triggered=torch.tensor([True, True, False, False]),
    )
    for scale, (clean, triggered) in zip((1, 0.5, 0), results, strict=True):
        assert clean[:, 0].tolist() == [100, 100 - 75 * scale, 100 - 25 * scale, 100 - 25 * scale]
        assert triggered[:, 0].tolist() == [100 - 50 * scale, 100, 100, 100]
        assert clean[:, 1].tolist() == triggered[:, 1].tolist() == [10] * 4
    assert held_out.clean.logits[:, 0].tolist() == [100] * 4
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(("model", "before"), [(Counted, 200), (Past, 600)])
def test_what_comes_before_the_layer_runs_once_where_it_can(model, before):
    held_out = HeldOut(group([0, 1, 2, 3] * 25), group([0, 1, 2, 3] * 25))
    model, every = model().eval(), torch.ones(100, dtype=torch.bool)
    run_repairs(
        model, held_out, [by_fold(s) for s in (0.1, 0.2, 0.3)], clean=every, triggered=every
    )
    # Beside the samples, two to see whether it can, and two to prove the layer.
    assert before <= model.before <= before + 6
    assert model.behind >= 600


def test_nothing_to_run():
    held_out = HeldOut(group([0]), group([1]))
    none = torch.zeros(1, dtype=torch.bool)
    assert run_repairs(loaded("vector").model, held_out, [], clean=none, triggered=none) == []
    ((clean, triggered),) = run_repairs(
        loaded("vector").model, held_out, [by_fold(1.0)], clean=none, triggered=none
    )
    assert torch.equal(clean, held_out.clean.logits)
    assert torch.equal(triggered, held_out.triggered.logits)


class Twice(Counted):
    def forward(self, x):
        return self.head(self.relu(self.relu(self.mix(x))))


def test_a_layer_that_cannot_be_repaired_at_is_refused():
    held_out, every = HeldOut(group([0]), group([1])), torch.ones(1, dtype=torch.bool)
    with pytest.raises(AttachError, match="runs several times"):
        run_repairs(Twice().eval(), held_out, [by_fold(1.0)], clean=every, triggered=every)
    with pytest.raises(AttachError, match="none of that name"):
        run_repairs(
            loaded("vector").model,
            held_out,
            [[corner(1.0, "rely")] * 4],
            clean=every,
            triggered=every,
        )


class Failing(Counted):
    def forward(self, x):
        if len(x) > 2:
            raise ValueError("no more than two")
        return super().forward(x)


def test_a_model_that_fails_is_reported():
    held_out, every = HeldOut(group([0] * 5), group([1] * 5)), torch.ones(5, dtype=torch.bool)
    with pytest.raises(CalibrationError, match=r"fails on inputs .* no more than two"):
        run_repairs(Failing().eval(), held_out, [by_fold(1.0)], clean=every, triggered=every)
