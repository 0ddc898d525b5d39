import pytest
import torch

from tests.directions.inspection.nets import QuadrantNet
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError, SamplesError
from torchserve_fire_build.inspection import inspect_model as module
from torchserve_fire_build.inspection.inspect_model import inspect_model
from torchserve_fire_build.inspection.inspection import Inspection
from torchserve_fire_build.inspection.methods import (
    DEFAULT,
    INSPECTION_METHODS,
    InspectionMethod,
)
from torchserve_fire_build.samples.tensor_samples import empty_samples

DESCRIPTION = InputDescription("tensor", (1, 8, 8))
CLEAN = empty_samples(DESCRIPTION)


def inspected(monkeypatch, budget=None, **methods):
    entries = {
        name: InspectionMethod(lambda settings, m=method: m) for name, method in methods.items()
    }
    monkeypatch.setattr(module, "INSPECTION_METHODS", entries)
    monkeypatch.setattr(module, "DEFAULT", list(methods))
    return inspect_model(QuadrantNet().eval(), CLEAN, seed=5, budget=budget)


def test_each_method_draws_the_same_numbers_whatever_ran_before(monkeypatch):
    drawn = []

    def draw(model, clean, classes, generator, budget):
        drawn.append(float(torch.rand((), generator=generator)))
        return Inspection("draw", backdoored=classes == 6)

    verdict = inspected(monkeypatch, one=draw, two=draw)
    assert drawn[0] == drawn[1]
    assert [run.inspection.backdoored for run in verdict.runs] == [True, True]


def test_a_method_that_fails_on_the_model_could_not_tell(monkeypatch):
    def fail(*_):
        raise CalibrationError("the model fails")

    verdict = inspected(monkeypatch, bad=fail, good=lambda *_: Inspection("good", backdoored=False))
    assert verdict.runs[0].inspection.found is None
    assert verdict.runs[0].inspection.notes == ("the model fails",)
    assert verdict.found is False


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (MemoryError(), "failed: MemoryError"),
        (RuntimeError("not enough memory\nand more"), "failed: RuntimeError: not enough memory"),
    ],
)
def test_a_method_that_breaks_is_a_row_and_no_more(monkeypatch, error, note):
    def fall(*_):
        raise error

    verdict = inspected(monkeypatch, bad=fall, good=lambda *_: Inspection("good", backdoored=True))
    assert verdict.runs[0].inspection.notes == (note,)
    assert verdict.found is True


def test_samples_that_cannot_be_read_are_reported(monkeypatch):
    def fail(*_):
        raise SamplesError("damaged")

    with pytest.raises(SamplesError):
        inspected(monkeypatch, bad=fail)


def test_time_that_a_method_leaves_is_for_the_next_methods(monkeypatch):
    now, ends = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def quick(*_):
        now[0] += 2
        return Inspection("quick")

    def slow(model, clean, classes, generator, budget):
        start = now[0]
        while not budget.spent():
            now[0] += 1
        ends.append(now[0] - start)
        return Inspection("slow")

    verdict = inspected(monkeypatch, Budget(12), quick=quick, slow=slow, last=slow)
    assert ends == [5, 5]
    assert [run.seconds for run in verdict.runs] == [2, 5, 5]


def test_the_default_methods_exist():
    assert DEFAULT
    assert set(DEFAULT) <= set(INSPECTION_METHODS)
