import contextlib
import itertools
import math
from dataclasses import replace

import pytest
import torch

from tests.directions.backdoored import write_tensors
from tests.directions.reconstruct.patch_net import PatchNet, images, stamp
from tests.directions.reconstruct.wave_net import WaveNet
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.building.from_samples import build_from_evidence
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError, NoTriggerError
from torchserve_fire_build.reconstruct import find_triggers as find_triggers_module
from torchserve_fire_build.reconstruct import settings as settings_module
from torchserve_fire_build.reconstruct.find_triggers import find_triggers
from torchserve_fire_build.reconstruct.methods import (
    AFFORDABLE,
    LEVELS,
    SEARCH_METHODS,
    SearchMethod,
)
from torchserve_fire_build.reconstruct.reconstruction import reconstruction_of
from torchserve_fire_build.reconstruct.screening import screen
from torchserve_fire_build.reconstruct.settings import SearchSettings
from torchserve_fire_build.reconstruct.stamped_samples import stamp_samples
from torchserve_fire_build.samples.read_tensors import read_tensors

UNIT = InputDescription("image", (3, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def clean_samples(folder, count=120):
    labels = torch.arange(count) % 4
    return read_tensors(write_tensors(folder / "clean.npz", images(count), labels))


def find(*args, **given):
    return search(*args, **given).triggers


def search(samples, drive=10.0, net=PatchNet, **given):
    given = {"methods": list(AFFORDABLE), "target": None, "seed": 0, "budget": Budget()} | given
    return find_triggers(net(drive).eval(), samples, UNIT, **given)


@pytest.mark.slow
def test_from_clean_samples_to_a_repair_of_an_unseen_trigger(tmp_path, logged):
    samples = clean_samples(tmp_path)
    found, lines = find(samples), logged.messages
    assert {one.target for one in found} == {0}
    assert len(found) >= 3
    assert lines[0] == "class 0 stands out"
    assert len(lines) == 3 + len(AFFORDABLE)
    assert lines[1].startswith("  by generated: anomaly index ")
    net = PatchNet()
    bundle = build_from_evidence(
        LoadedModel(net, "PatchNet", "0" * 64),
        stamp_samples(samples, found),
        BuildOptions(target=0),
    ).bundle
    clean, truth = images(80, seed=7), torch.arange(80) % 4
    triggered = stamp(clean)
    with torch.no_grad():
        assert bool((net(triggered).argmax(1) == 0).all())
    with attach_layers(net, bundle.layers, clean[:1], target=0) as handle, torch.no_grad():
        assert torch.equal(net(clean).argmax(1), truth)
        assert float(handle.verdict.flagged.float().mean()) < 0.05
        assert float((net(triggered).argmax(1) == truth).float().mean()) > 0.95


def test_a_benign_model_shows_no_trigger(tmp_path):
    with pytest.raises(NoTriggerError, match="no sign of a trigger"):
        find(clean_samples(tmp_path), drive=0)


@pytest.mark.parametrize(("drive", "named"), [(10.0, ["additive"]), (0.0, ["additive", "smooth"])])
def test_further_methods_are_used_only_if_no_class_stands_out(tmp_path, monkeypatch, drive, named):
    screened = []

    def count(subject, name, *others):
        screened.append(name)
        return screen(subject, name, *others)

    monkeypatch.setattr("torchserve_fire_build.reconstruct.find_triggers.screen", count)
    with contextlib.suppress(NoTriggerError):
        find(clean_samples(tmp_path), drive, methods=["additive"], otherwise=["smooth"])
    assert screened == named


@pytest.mark.parametrize(
    ("leads", "others"),
    [
        ({"additive": 0.5, "smooth": 0.9}, ["smooth"]),
        ({"additive": 0.5, "smooth": 0.89}, []),
        # Where those by which it stands out find none, it is of no use that others lead there.
        ({"additive": 0.4, "smooth": 1.0}, None),
    ],
)
def test_a_method_by_which_the_class_does_not_stand_out_adds_a_trigger_that_leads_surely(
    tmp_path, monkeypatch, leads, others
):
    def screen_with_additive_alone(subject, name, *given):
        screening = screen(subject, name, *given)
        return screening if name == "additive" else replace(screening, threshold=math.inf)

    def reconstruct(name, *given):
        return replace(reconstruction_of(name, *given), success=leads.get(name, 1.0))

    monkeypatch.setattr(find_triggers_module, "screen", screen_with_additive_alone)
    monkeypatch.setattr(find_triggers_module, "reconstruction_of", reconstruct)
    # Neural Cleanse has no bound, and leads wherever it is to.
    methods = ["smooth", "additive", "neural-cleanse"]
    if others is None:
        with pytest.raises(CalibrationError, match="no method"):
            search(clean_samples(tmp_path), methods=methods)
        return
    found = search(clean_samples(tmp_path), methods=methods)
    assert [one.method for one in found.triggers] == ["additive"] * 4
    assert [one.method for one in found.others] == others
    assert {one.target for one in (*found.triggers, *found.others)} == {found.target}


@pytest.mark.parametrize("target", [None, 0])
def test_a_class_that_only_a_further_method_finds_is_reconstructed_by_it(tmp_path, target):
    methods = {"methods": ["additive"], "otherwise": ["sinusoidal"]}
    found = find(clean_samples(tmp_path), net=WaveNet, target=target, **methods)
    assert {(one.method, one.target) for one in found} == {("sinusoidal", 0)}
    # None is another's copy: what serves for it serves for a trigger that was not seen.
    stamped = [one.stamp(images(1)) for one in found]
    assert len(stamped) >= 3
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(stamped, 2))


def test_a_given_target_is_not_searched_for(tmp_path, logged):
    found = find(clean_samples(tmp_path), target=0, methods=["additive"])
    lines = logged.messages
    assert {one.method for one in found} == {"additive"}
    assert lines[0] == "class 0 was named: it is not checked whether it stands out"
    assert lines[1].startswith("reconstructed")


def test_a_target_without_a_trigger_is_refused(tmp_path):
    with pytest.raises(NoTriggerError, match=r"no method found a trigger .* class 2$"):
        find(clean_samples(tmp_path), target=2, methods=["additive", "generated"])


def test_without_time_nothing_is_found(tmp_path):
    with pytest.raises(CalibrationError, match="raise the --budget"):
        find(clean_samples(tmp_path), budget=Budget(0))


def test_too_few_samples_are_refused(tmp_path):
    with pytest.raises(CalibrationError, match="12 clean samples, expected at least 50"):
        find(clean_samples(tmp_path, 12))


def test_samples_that_are_not_maps_are_refused(tmp_path):
    samples = read_tensors(write_tensors(tmp_path / "v.npz", torch.rand(60, 6)))
    with pytest.raises(CalibrationError, match="maps of"):
        find_triggers(
            PatchNet(),
            samples,
            InputDescription("tensor", (6,)),
            methods=["additive"],
            target=None,
            seed=0,
            budget=Budget(),
        )


def test_samples_of_one_class_are_refused(tmp_path):
    path = write_tensors(tmp_path / "one.npz", images(240)[::4])
    with pytest.raises(CalibrationError, match="all of these samples as one class"):
        find(read_tensors(path))


def test_a_target_that_the_model_does_not_have_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="target 4: the model has the classes 0 to 3"):
        find(clean_samples(tmp_path), target=4)


class Counting:
    """A search that counts its steps; it leads to class 0, and nowhere else."""

    def __init__(self, target, bound):
        self.target, self.bound, self.steps = target, bound, 0

    def advance(self, steps):
        self.steps += steps

    def effort(self, loss):
        return 1.0 + self.target / 100 if self.target else 0.0

    def stamp(self, inputs):
        return stamp(inputs) if self.target == 0 else inputs


def test_the_steps_and_the_bound_can_be_set(tmp_path, monkeypatch):
    started = []

    def begin(subject, target, generator, bound):
        started.append(Counting(target, bound))
        return started[-1]

    method = SearchMethod(begin, 7 / 255, screening=60, steps=120, unit=LEVELS)
    monkeypatch.setattr(settings_module, "SEARCH_METHODS", {**SEARCH_METHODS, "additive": method})
    settings = SearchSettings(bound=0.1, screening_steps=7, steps=45)
    find(clean_samples(tmp_path), methods=["additive"], settings=settings)
    # Of four classes, the first one's search goes on; three more are for that class alone.
    assert [search.steps for search in started] == [45, 7, 7, 7, 45, 45, 45]
    assert [search.bound for search in started[:4]] == [0.1] * 4
    assert max(search.bound for search in started) == pytest.approx(0.14)


def test_with_an_index_that_no_class_reaches_none_stands_out(tmp_path):
    with pytest.raises(NoTriggerError, match="nearest: class 0"):
        find(
            clean_samples(tmp_path),
            methods=["additive"],
            settings=SearchSettings(anomaly_index=1e6),
        )


@pytest.fixture
def timed(monkeypatch):
    """Begins searches whose every step takes a second; they are listed."""
    now, started = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class Timed(Counting):
        def advance(self, steps):
            super().advance(steps)
            now[0] += steps

    def begin(subject, target, generator, bound):
        started.append(Timed(target, bound))
        return started[-1]

    method = SearchMethod(begin, 7 / 255, screening=60, steps=120)
    monkeypatch.setattr(settings_module, "SEARCH_METHODS", {**SEARCH_METHODS, "additive": method})
    return started


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        # Four classes are screened in 240 seconds; of class 0 there is a trigger by then.
        (240, [60] * 4),
        (250, [80, 60, 60, 60]),
        (310, [120, 60, 60, 60, 20]),
        (420, [120, 60, 60, 60, 120]),
    ],
)
def test_when_the_time_is_over_no_search_goes_on_or_is_started(tmp_path, timed, seconds, steps):
    found = find(clean_samples(tmp_path), methods=["additive"], budget=Budget(seconds))
    assert [search.steps for search in timed] == steps
    assert len(found) == len(steps) - 3


def test_if_the_time_is_over_in_the_screening_classes_are_not_compared(tmp_path, timed):
    with pytest.raises(CalibrationError, match="2 of 4 classes searched: the time was over"):
        find(clean_samples(tmp_path), methods=["additive"], budget=Budget(130))
    assert [search.steps for search in timed] == [60, 60, 20]


def test_searches_without_any_time_are_named(tmp_path, timed, monkeypatch):
    both = settings_module.SEARCH_METHODS | {"smooth": settings_module.SEARCH_METHODS["additive"]}
    monkeypatch.setattr(settings_module, "SEARCH_METHODS", both)
    with pytest.raises(CalibrationError, match=r"2 of 4 classes.*--budget; nor by smooth$"):
        find(clean_samples(tmp_path), methods=["additive", "smooth"], budget=Budget(130))


def test_triggers_that_a_method_found_in_time_are_returned(tmp_path, timed, monkeypatch):
    both = settings_module.SEARCH_METHODS | {"smooth": settings_module.SEARCH_METHODS["additive"]}
    monkeypatch.setattr(settings_module, "SEARCH_METHODS", both)
    found = find(clean_samples(tmp_path), methods=["additive", "smooth"], budget=Budget(300))
    assert [(one.method, one.target) for one in found] == [("additive", 0)]


def test_without_time_for_a_given_target_nothing_is_found(tmp_path, timed):
    with pytest.raises(CalibrationError, match="before a trigger of class 0 was searched for"):
        find(clean_samples(tmp_path), methods=["additive"], target=0, budget=Budget(0))
    assert timed == []


def test_too_little_time_for_a_given_target_is_reported(tmp_path, timed):
    with pytest.raises(CalibrationError, match="to class 2, until the time was over: raise the"):
        find(clean_samples(tmp_path), methods=["additive"], target=2, budget=Budget(30))
    assert [search.steps for search in timed] == [40]


class TwoClasses(torch.nn.Module):
    """The backdoored net, of whose classes there are two."""

    def __init__(self):
        super().__init__()
        self.net = PatchNet()

    def forward(self, x):
        return self.net(x)[:, :2]


def test_too_few_classes_to_compare_are_refused_before_any_search(tmp_path, monkeypatch):
    monkeypatch.setattr("torchserve_fire_build.reconstruct.find_triggers.screen", None)
    given = {"methods": ["additive"], "seed": 0, "budget": Budget()}
    clean = clean_samples(tmp_path)
    with pytest.raises(
        CalibrationError, match="TwoClasses: 2 classes, expected at least 4"
    ) as caught:
        find_triggers(TwoClasses(), clean, UNIT, target=None, **given)
    assert "budget" not in str(caught.value)
    assert find_triggers(TwoClasses(), clean, UNIT, target=0, **given)


def test_a_patch_that_leads_from_other_places_is_put_there_and_logged(
    tmp_path, monkeypatch, logged
):
    monkeypatch.setattr(
        find_triggers_module,
        "moved_where_it_leads",
        lambda found, subject: replace(found, success=0.75),
    )
    found = find(clean_samples(tmp_path), methods=["additive", "abs"])
    assert {one.method: one.success for one in found} == {"additive": 1.0, "abs": 0.75}
    assert logged.messages[-2:] == [
        "these also lead from other places, and are put there on every other sample:",
        "  abs 75%, abs 75%",
    ]
