from dataclasses import replace

import pytest
import torch

from tests.directions.scan.many_net import SHAPE, TARGET, ManyNet, images
from tests.directions.scan.short_scan import shorten
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.building.name_target import name_target
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError, NoTriggerError
from torchserve_fire_build.reconstruct.methods import AFFORDABLE
from torchserve_fire_build.samples.tensor_samples import TensorSamples
from torchserve_fire_build.scan import judged_scan
from torchserve_fire_build.scan.evidence import NAMES
from torchserve_fire_build.scan.findings import PLACES, Step
from torchserve_fire_build.scan.verdict import Verdict

CLASSES = 14
DESCRIPTION = InputDescription("image", SHAPE, (0.0,), (1.0,))


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten(monkeypatch)


def named(*, classes=CLASSES, budget=None, cache=None):
    clean = TensorSamples(images(classes, 60), source="clean", description=DESCRIPTION)
    return name_target(
        ManyNet(classes).eval(),
        clean,
        DESCRIPTION,
        candidates=AFFORDABLE,
        seed=0,
        budget=Budget() if budget is None else budget,
        cache=cache,
    )


def judged(monkeypatch, highest, shown=()):
    """Give one class a probability, and evidence by some names, whatever was found."""
    probabilities = torch.zeros(CLASSES, dtype=torch.float64)
    probabilities[TARGET] = highest
    evidence = torch.zeros(CLASSES, len(NAMES), dtype=torch.float64)
    for name, score in dict(shown).items():
        evidence[TARGET, NAMES.index(name)] = score
    monkeypatch.setattr(judged_scan, "judge", lambda *_: Verdict(probabilities))
    monkeypatch.setattr(judged_scan, "evidence_of", lambda _: evidence)


@pytest.mark.parametrize(
    ("shown", "methods"),
    [
        ({"generated": 3.0, "additive": 2.4}, ["generated"]),
        ({"additive": 2.6, PLACES: 1.0}, ["neural-cleanse", "additive"]),
        # Many a change leads there: this counts only if nothing else does.
        ({"anywhere, additive": 4.0, "generated": 3.0}, ["generated"]),
        ({"anywhere, smooth": 4.0, PLACES: 0.9, "generated": 2.4}, ["smooth"]),
        ({PLACES: 0.9, "anywhere, smooth": 0.5}, ["neural-cleanse"]),
    ],
)
@pytest.mark.slow
def test_the_searches_that_show_the_class_reconstruct_its_triggers(monkeypatch, shown, methods):
    judged(monkeypatch, 0.95, shown)
    found = named()
    assert found.target == TARGET
    assert list(found.methods) == methods
    assert list(found.others) == [name for name in AFFORDABLE if name not in methods]


def test_what_lies_in_between_is_no_answer(monkeypatch):
    judged(monkeypatch, 0.7)
    with pytest.raises(CalibrationError, match=r"could not tell .* class 2 is the target"):
        named()


def test_no_class_stands_out(monkeypatch):
    judged(monkeypatch, 0.3)
    with pytest.raises(NoTriggerError, match=r"no class stands out.* class 2 .* with 30\.0%"):
        named()


def test_what_failed_has_not_found_that_there_is_nothing(monkeypatch):
    judged(monkeypatch, 0.3)
    scan = judged_scan.scan_model

    def fail(*arguments, **options):
        return replace(scan(*arguments, **options), steps=[Step("generated", 1.0, "no space")])

    monkeypatch.setattr(judged_scan, "scan_model", fail)
    with pytest.raises(CalibrationError, match=r"could not tell .* generated failed: no space"):
        named()


def test_where_each_class_leads_to_another_one_no_trigger_is_reconstructed(monkeypatch):
    judged(monkeypatch, 0.1)
    found = Verdict(torch.full((CLASSES,), 0.1, dtype=torch.float64), all_to_all=0.95)
    monkeypatch.setattr(judged_scan, "judge", lambda *_: found)
    with pytest.raises(CalibrationError, match=r"each class leads to another.*triggered samples"):
        named()


def test_a_scan_goes_on_from_a_cache(tmp_path, logged):
    first = named(cache=tmp_path)
    assert not any("holds" in line for line in logged.messages)
    assert named(cache=tmp_path) == first
    assert sum(f"cache: {tmp_path}: holds" in line for line in logged.messages) == 7


def test_too_few_classes_to_compare():
    with pytest.raises(CalibrationError, match="3 classes, expected at least 4"):
        named(classes=3)


def test_a_scan_leaves_time_for_what_follows(monkeypatch):
    left = []

    def look(subject, budget):
        left.append(budget.left())
        raise CalibrationError("seen")

    monkeypatch.setattr(judged_scan, "plan_scan", look)
    with pytest.raises(CalibrationError, match="seen"):
        named(budget=Budget(100))
    assert 40 < left[0] <= 50
