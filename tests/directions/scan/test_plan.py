import re

import pytest
import torch

from tests.directions.scan.many_net import Broken, subject
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.scan.findings import LEAST_DEPTH
from torchserve_fire_build.scan.plan import RESERVE, Plan, plan_scan
from torchserve_fire_build.scan.scan_model import BATCH, scan_model
from torchserve_fire_build.scan.shortlist import ALL


@pytest.fixture
def timed(monkeypatch):
    """Makes a subject whose model takes a second for a batch, on a clock that nothing else moves.

    The clock is the list's only value.
    """
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def make(classes):
        def tick(module, args, output):
            now[0] += len(args[0]) / BATCH

        of = subject(classes)
        of.model.register_forward_hook(tick)
        return of, now

    return make


@pytest.mark.parametrize("classes", [4, 40])
@pytest.mark.usefixtures("short")
def test_a_scan_takes_about_as_long_as_was_planned(timed, classes):
    of, now = timed(classes)
    plan = plan_scan(of, Budget())
    assert (plan.classes, plan.compared, plan.depth) == (classes, min(ALL, classes), 1)
    started = now[0]
    scan_model(of, 0, Budget())
    # Waves that are the best of several classes are tried again once.
    assert 0.6 * plan.seconds < now[0] - started < 1.1 * plan.seconds


@pytest.mark.usefixtures("short")
def test_a_scan_keeps_within_a_time_that_suffices_for_a_part(timed):
    of, now = timed(40)
    whole = plan_scan(of, Budget()).seconds
    budget, started = Budget(0.9 * whole), now[0]
    plan = plan_scan(of, budget)
    assert LEAST_DEPTH <= plan.depth < 0.9
    assert plan.seconds == pytest.approx((1 - RESERVE) * budget.left())
    scan = scan_model(of, 0, budget, depth=plan.depth)
    assert now[0] - started < 0.9 * whole
    assert [step.failure for step in scan.steps] == [None] * len(scan.steps)


def test_the_time_does_not_grow_with_the_classes(timed):
    seconds = [plan_scan(timed(classes)[0], Budget()).seconds for classes in (6, 12, 13, 50)]
    assert seconds[0] < seconds[1] == seconds[2] == seconds[3]


def test_more_time_than_it_takes_changes_nothing(timed):
    of, _ = timed(40)
    assert plan_scan(of, Budget(1e9)) == plan_scan(of, Budget())


def test_too_little_time_is_refused_in_one_line(timed):
    of, _ = timed(40)
    whole = plan_scan(of, Budget()).seconds
    with pytest.raises(CalibrationError) as caught:
        plan_scan(of, Budget(0.4 * whole))
    message = str(caught.value)
    assert message.startswith("--budget: ")
    assert "\n" not in message
    said = re.search(r"takes at least (\d+) min here, and in full (\d+) min: give", message)
    least, in_full = (60 * int(minutes) for minutes in said.groups())
    assert in_full == pytest.approx(whole, abs=30)
    with pytest.raises(CalibrationError):
        plan_scan(of, Budget(0.95 * least))
    given = 60 * int(re.search(r"give --budget (\d+)m or more", message)[1])
    assert plan_scan(of, Budget(given)).depth >= LEAST_DEPTH
    # The passes that are measured take time themselves.
    assert plan_scan(of, Budget(1.1 * least)).depth >= LEAST_DEPTH


@pytest.mark.parametrize("batches", [0, 3])
def test_when_the_time_is_over_no_further_step_is_measured(timed, batches):
    of, now = timed(40)
    with pytest.raises(CalibrationError, match="--budget: the time was over before a step of each"):
        plan_scan(of, Budget(batches))
    # A step, which is taken twice at least, is not cut.
    assert batches <= now[0] <= batches + 3


def test_a_step_that_fails_later_does_not_fail_the_plan():
    assert plan_scan(subject(model=Broken()), Budget()).depth == 1


def test_measuring_changes_nothing():
    of = subject()
    torch.manual_seed(0)
    state, inputs = torch.get_rng_state(), of.inputs.clone()
    plan_scan(of, Budget())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(of.inputs, inputs)
    assert not of.inputs.requires_grad


@pytest.mark.parametrize(
    ("plan", "words", "silent"),
    [
        (Plan(9, 9, 50, 1.0), ["all 9 classes", "all of them one by one", "about 50 s"], "budget"),
        (Plan(43, 12, 600, 1.0), ["all 43 classes", "12 of them", "about 10 min"], "budget"),
        (Plan(43, 12, 300, 0.5), ["about 5 min", "50% of the steps", "--budget"], "all of them"),
    ],
)
def test_a_plan_in_words(plan, words, silent):
    said = plan.in_words()
    assert all(word in said for word in words)
    assert silent not in said
    assert "\n" not in said
