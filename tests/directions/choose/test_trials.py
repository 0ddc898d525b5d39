import pytest
import torch
from torch import nn

from tests.directions.backdoored_nets import backdoored
from tests.directions.choose.prepared import group_of, inputs_of
from torchserve_fire.errors import AttachError
from torchserve_fire.format.bundle import Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire_build.choose import trials
from torchserve_fire_build.choose.held_out import HeldOut
from torchserve_fire_build.choose.kept_features import KeptFeatures
from torchserve_fire_build.choose.trials import run_trials
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.common.hooks import record_features
from torchserve_fire_build.samples.both import Both

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
    return group_of(inputs, folds, logits)


def features_of(model, held_out, which, layer="relu"):
    """The layer's features of the samples to run, as a pass before would have kept them."""
    kept = KeptFeatures(which, {layer: (6,)})
    for group, is_clean in zip(held_out, (True, False), strict=True):
        rows = torch.arange(len(group.folds))
        with record_features(
            model,
            [layer],
            lambda name, f, rows=rows, is_clean=is_clean: kept.add(name, rows, f, clean=is_clean),
        ):
            model(inputs_of(group))
    return kept.features


def everything(held_out):
    return held_out.map(lambda group: torch.ones(len(group.folds), dtype=torch.bool))


class Counted(nn.Module):
    """The tiny net, which counts the rows that it sees before and behind its layers."""

    def __init__(self):
        super().__init__()
        net = backdoored("vector")
        self.mix, self.relu, self.head = net.mix, net.relu, net.head
        self.before = self.behind = 0

    def forward(self, x):
        self.before += int(x.isfinite().all(1).sum())
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


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("model", [Counted, Past, Silent])
def test_each_sample_is_run_with_its_folds_repair_and_the_others_keep_their_logits(model, known):
    held_out = HeldOut(group([0, 3, 1, 1]), group([2, 0, 0, 2]))
    which = Both(torch.tensor([False, True, True, True]), torch.tensor([True, True, False, False]))
    model = model().eval()
    results = run_trials(
        model,
        held_out,
        [by_fold(0.25), by_fold(0.125), by_fold(0.0)],
        which,
        features_of(model, held_out, which) if known else None,
    )
    for scale, (clean, triggered) in zip((1, 0.5, 0), results, strict=True):
        assert clean[:, 0].tolist() == [100, 100 - 75 * scale, 100 - 25 * scale, 100 - 25 * scale]
        assert triggered[:, 0].tolist() == [100 - 50 * scale, 100, 100, 100]
        assert clean[:, 1].tolist() == triggered[:, 1].tolist() == [10] * 4
    assert held_out.clean.logits[:, 0].tolist() == [100] * 4
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(("model", "before"), [(Counted, 200), (Past, 600)])
def test_layers_before_the_repair_run_once_if_possible(model, before):
    held_out = HeldOut(group([0, 1, 2, 3] * 25), group([0, 1, 2, 3] * 25))
    model = model().eval()
    run_trials(model, held_out, [by_fold(s) for s in (0.1, 0.2, 0.3)], everything(held_out))
    # Beside the samples, one for each batch, ten to see whether it can, and two to prove the layer.
    assert before <= model.before <= before + 8 + 10 + 2
    assert model.behind >= 600


def test_without_samples_or_repairs_nothing_is_run():
    held_out = HeldOut(group([0]), group([1]))
    none = held_out.map(lambda group: torch.zeros(1, dtype=torch.bool))
    assert run_trials(backdoored("vector"), held_out, [], none) == []
    ((clean, triggered),) = run_trials(backdoored("vector"), held_out, [by_fold(1.0)], none)
    assert torch.equal(clean, held_out.clean.logits)
    assert torch.equal(triggered, held_out.triggered.logits)


class Twice(Counted):
    def forward(self, x):
        return self.head(self.relu(self.relu(self.mix(x))))


def test_a_layer_that_cannot_be_repaired_at_is_refused():
    held_out = HeldOut(group([0]), group([1]))
    every = everything(held_out)
    with pytest.raises(AttachError, match="runs several times"):
        run_trials(Twice().eval(), held_out, [by_fold(1.0)], every)
    with pytest.raises(AttachError, match="none of that name"):
        run_trials(backdoored("vector"), held_out, [[corner(1.0, "rely")] * 4], every)


class Failing(Counted):
    def forward(self, x):
        if len(x) > 2:
            raise ValueError("no more than two")
        return super().forward(x)


def test_a_model_that_fails_is_reported():
    held_out = HeldOut(group([0] * 20), group([1] * 20))
    with pytest.raises(CalibrationError, match=r"fails on inputs .* no more than two"):
        run_trials(Failing().eval(), held_out, [by_fold(1.0)], everything(held_out))


class InPlace(Counted):
    """Goes on by changing its features where they lie."""

    def forward(self, x):
        self.before += int(x.isfinite().all(1).sum())
        feature = self.relu(self.mix(x))
        self.behind += len(feature)
        return self.head(feature.add_(1))


def noisy(folds, model, seed):
    """Samples that differ, with the logits of a model."""
    inputs = torch.rand(len(folds), 6, generator=torch.Generator().manual_seed(seed))
    inputs[:, 4] = 3
    with torch.no_grad():
        return group_of(inputs, folds, model(inputs))


@pytest.mark.parametrize("net", [Counted, InPlace])
def test_known_features_give_the_same_logits_and_nothing_runs_before_the_layer(net):
    model = net().eval()
    held_out = HeldOut(noisy([0, 1, 2, 3] * 20, model, 0), noisy([3, 1] * 10, model, 1))
    which = Both(torch.arange(80) % 3 != 0, torch.arange(20) % 3 != 1)
    repairs = [by_fold(s) for s in (0.1, 0.2, 0.3)]
    features = features_of(model, held_out, which)
    model.before = 0
    expected = run_trials(model, held_out, repairs, which)
    plain, model.before = model.before, 0
    found = run_trials(model, held_out, repairs, which, features)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.clean, other.clean)
        torch.testing.assert_close(one.triggered, other.triggered)
    # An input a batch, those to see whether it can, and two to prove the layer.
    assert plain >= 53 + 13
    assert model.before <= 15


class Paired(Counted):
    """Adds to the logits of each row what its own input says: one input does not do for all."""

    def forward(self, x):
        logits = super().forward(x)
        return logits + x[:, 5:].repeat(len(logits) // len(x), 1)


class Together(Counted):
    """Goes on from several inputs only."""

    def forward(self, x):
        logits = super().forward(x)
        if len(x) == 1 and len(logits) > 2:
            raise ValueError("not from one")
        return logits


class Viewing(Counted):
    """Asks its input how many rows there are, behind the layer too, as many networks do."""

    def forward(self, x):
        return super().forward(x).view(x.size(0), 4)


@pytest.mark.parametrize("net", [Together, Viewing])
def test_a_model_that_counts_its_inputs_gets_as_many_without_running_on_them(net):
    model = net().eval()
    held_out = HeldOut(noisy([0, 1, 2, 3] * 20, model, 0), noisy([3, 1] * 10, model, 1))
    every, repairs = everything(held_out), [by_fold(s) for s in (0.1, 0.2)]
    features = features_of(model, held_out, every)
    expected = run_trials(Counted().eval(), held_out, repairs, every)
    model.before = 0
    unknown = run_trials(model, held_out, repairs, every)
    # Each sample once for both repairs; some to see whether it can, and two to prove the layer.
    assert 100 <= model.before <= 112
    model.before = 0
    known = run_trials(model, held_out, repairs, every, features)
    assert model.before <= 12
    for found in (unknown, known):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.clean, other.clean)
            torch.testing.assert_close(one.triggered, other.triggered)
    assert not any(m._forward_hooks for m in model.modules())


def test_no_more_rows_are_run_at_once_than_inputs_may_be(monkeypatch):
    model = Counted().eval()
    held_out = HeldOut(noisy([0, 1, 2, 3] * 20, model, 0), noisy([3, 1] * 10, model, 1))
    every, repairs = everything(held_out), [by_fold(s) for s in (0.1, 0.2, 0.3)]
    expected = run_trials(model, held_out, repairs, every)
    seen = []
    model.head.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    # Rows of six features of four bytes, which are no smaller than the inputs.
    monkeypatch.setattr(trials, "BATCH_BYTES", 2 * trials.TRIAL_BATCH * 6 * 4)
    found = run_trials(model, held_out, repairs, every)
    assert max(seen) <= 2 * trials.TRIAL_BATCH
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.clean, other.clean)
        torch.testing.assert_close(one.triggered, other.triggered)


def test_a_model_that_needs_all_inputs_runs_on_all():
    model = Paired().eval()
    held_out = HeldOut(noisy([0, 1, 2, 3] * 4, model, 0), noisy([3, 1, 0], model, 1))
    every, repairs = everything(held_out), [by_fold(s) for s in (0.1, 0.2)]
    features = features_of(model, held_out, every)
    model.before = 0
    expected = run_trials(model, held_out, repairs, every)
    # Each sample once, for both repairs.
    assert model.before < 2 * 19
    model.before = 0
    found = run_trials(model, held_out, repairs, every, features)
    assert model.before >= 19
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.clean, other.clean)
        assert torch.equal(one.triggered, other.triggered)
