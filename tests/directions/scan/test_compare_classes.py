from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.directions.scan.many_net import TARGET, Broken, CountedRuns, subject
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.scan.compare_classes import INPUTS, compare_classes
from torchserve_fire_build.scan.findings import STEPS

METHOD = pytest.mark.parametrize("method", list(STEPS))
TARGETS = [7, TARGET, 20, 1]


class Ending(Budget):
    """A budget that is spent when it was asked so often."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left_to_ask = asked

    def spent(self, reserve: float = 0.0) -> bool:
        self.left_to_ask -= 1
        return self.left_to_ask < 0


def compare(of, method, targets=TARGETS, steps=12, seed=0, budget=None):
    return compare_classes(of, method, targets, steps, seed, Budget() if budget is None else budget)


@METHOD
def test_the_target_takes_the_least_effort(method):
    found = compare(subject(), method)
    assert (found.method, found.targets, found.steps) == (method, TARGETS, 12)
    assert found.effort.dtype == found.success.dtype == torch.float64
    least = found.effort.argsort()
    assert TARGETS[int(least[0])] == TARGET
    assert float(found.success[1]) > 0.9
    # The other classes differ less among each other than from the target.
    assert found.effort[least[1]] - found.effort[least[0]] > found.effort[least[[1, 3]]].diff()


@METHOD
def test_a_class_is_searched_alike_whatever_the_others_are(method):
    of = subject()
    first, reverse = compare(of, method, steps=6), compare(of, method, TARGETS[::-1], steps=6)
    torch.testing.assert_close(first.effort, reverse.effort.flip(0))
    torch.testing.assert_close(first.success, reverse.success.flip(0))


@METHOD
def test_only_the_seed_decides(method):
    of = subject()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = compare(of, method, steps=3).effort
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(compare(of, method, steps=3).effort, first)


@METHOD
def test_when_the_time_is_over_all_classes_took_as_many_steps(method):
    of = subject()
    cut = compare(of, method, steps=100, budget=Ending(2))
    assert cut.steps == 2
    torch.testing.assert_close(cut.effort, compare(of, method, steps=2).effort)


@METHOD
def test_without_any_time_there_is_nothing_to_compare(method):
    with pytest.raises(CalibrationError, match="over before its first step"):
        compare(subject(), method, budget=Ending(0))


@METHOD
@pytest.mark.slow
def test_all_of_it_keeps_within_the_time(monkeypatch, method):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def tick(module, args, output):
        now[0] += len(args[0]) / 100

    # Large enough for many waves.
    of = subject()
    wide = nn.Sequential(nn.MaxPool2d(4), of.model)
    of = replace(of, model=wide, inputs=of.inputs.repeat_interleave(4, 2).repeat_interleave(4, 3))
    wide.register_forward_hook(tick)
    compare(of, method, steps=STEPS[method])
    seconds, now[0] = 0.7 * now[0], 0.0
    cut = compare(of, method, steps=STEPS[method], budget=Budget(seconds))
    assert 0 < cut.steps < STEPS[method]
    # Waves that are the best of several classes are measured once.
    assert (0.3 if method == "sinusoidal" else 0.8) * seconds < now[0] <= seconds


@METHOD
def test_an_input_of_another_class_shows_each_trigger(method):
    of = subject()
    found = compare(of, method)
    assert found.stamped.shape == (len(TARGETS), *of.inputs.shape[1:])
    # The trigger of the target acts on this input.
    assert int(of.logits(found.stamped[1:2]).argmax()) == TARGET
    before = torch.stack([of.others(target)[0] for target in TARGETS])
    changed = (found.stamped - before).flatten(1).abs().amax(1)
    assert bool((changed > 0).all())
    assert float(changed.max()) <= 1


def test_only_the_classes_that_are_named_cost_something():
    of, runs = subject(), []
    for targets in ([0, 1], [0, 1, 2, 3]):
        counted = CountedRuns(of.model)
        compare(of, "additive", targets, steps=10)
        runs.append((counted.runs, counted.inputs))
    # Ten steps, and a measurement on the inputs of other classes.
    assert runs[0][0] == 2 * 11
    assert runs[1][0] == 4 * 11
    assert runs[0][1] <= 2 * (10 * of.batch_size + INPUTS)


@METHOD
def test_logits_that_are_nan_are_no_comparison(method):
    of = subject(model=Broken())
    with pytest.raises(CalibrationError, match="Broken: its logits are NaN for inputs with"):
        compare(of, method, steps=2)
