import pytest
import torch

from tests.directions.backdoored import write_tensors
from tests.directions.scan.many_net import TARGET, Broken, ManyNet, images
from tests.directions.scan.permuted_net import PermutedNet
from tests.directions.scan.short_scan import shorten
from torchserve_fire.errors import FireError
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.inspection import scanning as module
from torchserve_fire_build.inspection.methods import DEFAULT, INSPECTION_METHODS
from torchserve_fire_build.inspection.scanning import scan_classes
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.scan import judged_scan, verdict
from torchserve_fire_build.scan import scan_model as scan_module
from torchserve_fire_build.scan.evidence import NAMES
from torchserve_fire_build.scan.findings import PLACES, TURNS
from torchserve_fire_build.scan.free_search import KINDS, Kind
from torchserve_fire_build.scan.plan import Plan
from torchserve_fire_build.scan.verdict import FOUND, Verdict

CLASSES = 14


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Few steps, and values of the tests' own in place of the fitted ones."""
    shorten(monkeypatch)
    monkeypatch.setattr(verdict, "FITS", {50: ((2.0,) * len(NAMES), (2.0,) * len(NAMES), -4.0)})


def samples(folder, inputs):
    return read_tensors(write_tensors(folder / "clean.npz", inputs))


def scanned(folder, model, *, count=60, classes=CLASSES, seed=0, budget=None):
    clean = samples(folder, images(classes, count))
    generator = torch.Generator().manual_seed(seed)
    budget = Budget() if budget is None else budget
    return scan_classes(model.eval(), clean, classes, generator, budget)


def judged(monkeypatch, highest):
    """Give one class a probability, whatever was found."""
    probabilities = torch.zeros(CLASSES, dtype=torch.float64)
    probabilities[TARGET] = highest
    monkeypatch.setattr(judged_scan, "judge", lambda *_: Verdict(probabilities))


def test_it_is_the_default():
    assert DEFAULT == (module.NAME,)
    assert INSPECTION_METHODS[module.NAME].decides


def test_a_backdoored_model(tmp_path, logged):
    found = scanned(tmp_path, ManyNet(CLASSES))
    assert (found.method, found.backdoored, found.suspects) == ("scan", True, [TARGET])
    assert found.probabilities.shape == (CLASSES,)
    assert float(found.probabilities[TARGET]) >= found.threshold == FOUND
    assert found.index is None
    assert found.notes[0] == "60 clean samples"
    # What each step found; shifts of features only put the classes in order.
    assert [note.split(":")[0] for note in found.notes[1:]] == [*NAMES, "all to all"]
    assert f"class {TARGET} stands out most, by " in found.notes[-2]
    assert "not looked for, since too few classes have several of the" in found.notes[-1]
    (said,) = logged.messages
    assert f"all {CLASSES} classes together, then searches 12 of them" in said


@pytest.mark.parametrize("drive", [40.0, 0.0])
def test_a_model_in_which_each_class_leads_to_the_next(monkeypatch, tmp_path, drive):
    monkeypatch.setitem(KINDS, "patch", Kind(KINDS["patch"].start, 20))
    found = scanned(tmp_path, PermutedNet(8, drive), count=160, classes=8)
    assert found.suspects == []
    note = found.notes[-1]
    if drive:
        assert found.found is True
        assert found.probability >= FOUND
        assert note.startswith("all to all: ")
        assert note.endswith(": 0 to 1, 1 to 2, 2 to 3, 3 to 4, 4 to 5, 5 to 6, 6 to 7, 7 to 0")
    else:
        assert found.found is False
        assert " to 1" not in note


def test_the_triggers_of_the_classes_that_were_searched_are_drawn(tmp_path):
    found = scanned(tmp_path, ManyNet(CLASSES))
    pictures = found.pictures
    assert pictures.shape == (12, 1, 24, 8)
    assert len(set(found.pictured)) == 12
    assert TARGET in found.pictured
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1


def test_its_benign_twin(tmp_path):
    found = scanned(tmp_path, ManyNet(CLASSES, drive=0))
    assert (found.backdoored, found.suspects) == (False, [])
    assert not any("could tell" in note for note in found.notes)


def test_the_seed_decides(tmp_path):
    model = ManyNet(CLASSES)
    first, again = (scanned(tmp_path, model, seed=3).probabilities for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("count", "depth", "advice"),
    [
        (60, 1.0, "more clean samples could tell: 60 were given, try 200"),
        (210, 1.0, "another --seed, could tell"),
        (60, 0.5, "raise the --budget"),
    ],
)
def test_where_it_cannot_tell_it_says_what_could(monkeypatch, tmp_path, count, depth, advice):
    judged(monkeypatch, 0.7)
    monkeypatch.setattr(judged_scan, "plan_scan", lambda *_: Plan(CLASSES, 12, 1.0, depth))
    found = scanned(tmp_path, ManyNet(CLASSES), count=count)
    assert (found.found, found.suspects) == (None, [])
    assert float(found.probabilities.max()) == 0.7
    assert advice in found.notes[-1]


@pytest.mark.parametrize(
    ("work", "step", "highest", "found"),
    [
        ("search_places", PLACES, 0.1, None),
        ("turn_images", TURNS, 0.1, None),
        ("search_places", PLACES, 0.95, True),
        # None of the classes was searched one by one; there are no pictures then.
        ("compare_classes", "generated", 0.1, None),
        ("compare_classes", "generated", 0.95, True),
    ],
)
@pytest.mark.slow
def test_what_failed_has_not_found_that_there_is_nothing(
    monkeypatch, tmp_path, work, step, highest, found
):
    def fall(*_):
        raise RuntimeError("no space")

    monkeypatch.setattr(scan_module, work, fall)
    judged(monkeypatch, highest)
    result = scanned(tmp_path, ManyNet(CLASSES))
    assert result.found is found
    assert f"{step}: failed: RuntimeError: no space" in result.notes
    advised = any("could tell only if nothing failed" in note for note in result.notes)
    assert advised is (found is None)


def test_a_class_that_was_found_stays_found_where_its_trigger_cannot_be_shown(
    monkeypatch, tmp_path
):
    def fall(*_):
        raise RuntimeError("no space")

    monkeypatch.setattr(scan_module, "compare_classes", fall)
    judged(monkeypatch, 0.95)
    found = scanned(tmp_path, ManyNet(CLASSES))
    assert (found.backdoored, found.suspects, found.pictures) == (True, [TARGET], None)


def test_few_classes_need_no_layer_to_order_them_by(tmp_path):
    class Bare(torch.nn.Module):
        """Has no layer whose features could be shifted."""

        def forward(self, x):
            return 8 * x.flatten(1)[:, :5]

    found = scanned(tmp_path, Bare(), classes=5)
    assert found.backdoored is False
    assert not any("failed" in note for note in found.notes)


def test_where_no_search_came_to_an_end_nobody_can_tell(tmp_path):
    found = scanned(tmp_path, Broken(CLASSES))
    assert found.found is found.probabilities is found.pictures is None
    assert found.notes[-1] == "no search came to an end"
    assert any("logits are NaN" in note for note in found.notes)


def test_few_classes_cannot_be_compared(tmp_path):
    with pytest.raises(CalibrationError, match="3 classes, expected at least 4"):
        scanned(tmp_path, ManyNet(3), classes=3)


def nan_for_some(model, inputs):
    class Some(torch.nn.Module):
        def forward(self, x):
            return model(x).masked_fill((x == inputs[3]).flatten(1).all(1)[:, None], torch.nan)

    return Some()


@pytest.mark.parametrize(
    ("model", "inputs", "budget", "reason"),
    [
        (ManyNet(CLASSES), images(CLASSES, 49), None, "49 clean samples, expected at least 50"),
        (ManyNet(CLASSES), images(CLASSES, 60)[:, 0], None, "maps of"),
        (
            ManyNet(CLASSES),
            images(CLASSES, 60)[:1].repeat(60, 1, 1, 1),
            None,
            "predicts all of these samples as one class",
        ),
        (
            nan_for_some(ManyNet(CLASSES), images(CLASSES, 60)),
            images(CLASSES, 60),
            None,
            "logits are NaN for 1 of 60 samples",
        ),
        (ManyNet(CLASSES), images(CLASSES, 60), 0.01, "--budget: "),
    ],
)
def test_what_does_not_allow_a_scan_is_one_line(tmp_path, model, inputs, budget, reason):
    clean = samples(tmp_path, inputs)
    # From now on, and not from when the tests were collected.
    budget = Budget(budget)
    with pytest.raises(CalibrationError, match=reason) as caught:
        scan_classes(model.eval(), clean, CLASSES, torch.Generator(), budget)
    assert isinstance(caught.value, FireError)
    assert "\n" not in str(caught.value)
