import math
from dataclasses import replace

import pytest
import torch

from tests.directions.scan.many_net import TARGET, Broken, CountedRuns, ManyNet, subject
from tests.directions.scan.test_compare_classes import Ending
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.scan.free_search import (
    INPUTS,
    KINDS,
    PATCH_SHARE,
    changed_logits,
    losses_towards_each,
    search_freely,
)

KIND = pytest.mark.parametrize("kind", list(KINDS))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_cheapest_patch_leads_to_the_target_from_wherever_it_starts():
    leads = [
        search_freely(subject(), "patch", seeded(seed), KINDS["patch"].steps, Budget())
        for seed in range(3)
    ]
    assert [(lead.kind, lead.target) for lead in leads] == [("patch", TARGET)] * 3
    assert all(lead.success > 0.9 for lead in leads)


@KIND
def test_in_a_benign_twin_no_class_is_reached_surely(kind):
    steps = KINDS[kind].steps
    assert search_freely(subject(drive=0), kind, seeded(), steps, Budget()).success < 0.5


@KIND
def test_the_cost_is_that_of_the_steps_whatever_the_number_of_classes(kind):
    seen = []
    for classes in (5, 50):
        of = subject(classes)
        counted = CountedRuns(of.model)
        search_freely(of, kind, seeded(), 3, Budget())
        seen.append((counted.runs, counted.inputs))
    assert seen == [(3 + 1, 3 * of.batch_size + INPUTS)] * 2


@KIND
def test_when_the_time_is_over_it_does_with_the_steps_that_it_took(kind):
    of = subject()
    whole, cut = (search_freely(of, kind, seeded(), 9, end) for end in (Budget(), Ending(2)))
    assert (whole.steps, cut.steps) == (9, 3)
    assert cut == search_freely(of, kind, seeded(), 3, Budget())
    assert search_freely(of, kind, seeded(), 9, Budget(0)).steps == 1


@KIND
def test_only_the_seed_decides(kind):
    of = subject()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = search_freely(of, kind, seeded(2), 5, Budget())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert search_freely(of, kind, seeded(2), 5, Budget()) == first


@KIND
def test_changes_keep_within_their_bounds(kind):
    of = subject()
    change = KINDS[kind].start(of, seeded())
    for taken in range(25):
        with torch.no_grad():
            # A change of all black and of all white images says what is added, and what covers.
            black, white = (
                change.stamp(torch.zeros(1, 1, 8, 8)),
                change.stamp(torch.ones(1, 1, 8, 8)),
            )
        if kind == "warp":
            # What moves adds nothing to what is alike everywhere.
            assert float(black.abs().max()) == 0
            torch.testing.assert_close(white, of.box.high[None].expand_as(white))
        elif kind == "patch":
            covered = float((1 - (white - black)).sum())
            assert covered <= PATCH_SHARE * 64 * 1.001
        else:
            bound = 7 / 255
            length = float(black.square().mean().sqrt())
            assert length <= bound * 1.001
            # It starts half of the way out, and not at 0.
            assert taken or length == pytest.approx(bound / 2, rel=1e-3)
        with torch.enable_grad():
            stamped = change.stamp(of.inputs[:8])
            change.step(-of.logits(stamped)[:, 2].sum())


@KIND
def test_logits_that_are_nan_are_no_lead(kind):
    of = subject(model=Broken())
    with pytest.raises(CalibrationError, match="Broken: its logits are NaN for changed inputs"):
        search_freely(of, kind, seeded(), 3, Budget())


class Endless(Broken):
    def forward(self, x):
        return super().forward(x).nan_to_num(torch.inf)


def test_infinite_logits_are_no_lead():
    of = subject(model=Endless())
    change = KINDS["patch"].start(of, seeded())
    with pytest.raises(CalibrationError, match="Endless: its logits are infinite for changed in"):
        changed_logits(of, change.stamp, of.inputs[:8])


@KIND
def test_inputs_that_are_all_predicted_as_one_class_are_led_to_another(kind):
    of = subject()
    same = replace(of, inputs=of.inputs[::40], predicted=of.predicted[::40])
    assert set(same.predicted.tolist()) == {0}
    assert search_freely(same, kind, seeded(), 5, Budget()).target != 0


def test_losses_are_of_the_inputs_of_other_classes():
    logits = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 0, 5]])
    found = losses_towards_each(logits, torch.tensor([0, 1, 2]))
    log_sums = [math.log(math.exp(x) + 2) for x in (2, 1, 5)]
    # Their logits of other classes are 0.
    expected = [sum(log_sums) / 2 - log_sum / 2 for log_sum in log_sums]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_a_class_that_all_inputs_have_is_not_the_nearest():
    logits = torch.tensor([[9.0, 1, 0], [9, 1, 0]], requires_grad=True)
    found = losses_towards_each(logits, torch.zeros(2, dtype=torch.long))
    assert found.argsort().tolist()[0] == 1
    assert torch.equal(found[0], found[2])
    (gradient,) = torch.autograd.grad(found[0], logits)
    assert not bool(gradient.any())


def test_a_search_changes_nothing_in_the_model():
    of = subject(model=ManyNet())
    before = {name: value.clone() for name, value in of.model.state_dict().items()}
    search_freely(of, "additive", seeded(), 2, Budget())
    assert all(torch.equal(value, before[name]) for name, value in of.model.state_dict().items())
    assert all(parameter.grad is None for parameter in of.model.parameters())
