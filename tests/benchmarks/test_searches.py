import json
from functools import partial
from types import SimpleNamespace

import pytest

from benchmarks import searches
from benchmarks.first_bundle import First
from benchmarks.kept import Kept
from benchmarks.samples import without_labels
from benchmarks.searches import Way, measure, measure_missing
from tests.benchmarks.patch_victim import as_pixels, held, victim
from tests.directions.reconstruct.patch_net import images

CLEAN = without_labels(as_pixels(images(120)), "clean")


class Steps:
    def __init__(self):
        self.taken = 0

    def update(self):
        self.taken += 1


@pytest.mark.slow
def test_a_search_names_the_target_and_its_bundle_is_measured_on_the_attackers_trigger():
    row = measure(victim(10.0), CLEAN, Way("neural-cleanse"), held())
    assert row["named"] == [0]
    assert row["figures"]["recovered_accuracy"] > 0.95
    assert row["figures"]["clean_accuracy"] == 1


def test_nothing_is_named_of_a_benign_model():
    row = measure(victim(0.0), CLEAN, Way("neural-cleanse"), None)
    assert row["named"] == []
    assert "figures" not in row


def test_without_images_they_are_recovered_from_the_model_first(monkeypatch):
    given = []

    def build_first(model, clean, methods, otherwise):
        given.append((clean, methods, otherwise))
        return First({"named": [], "logged": [], "seconds": 1.0}, None)

    monkeypatch.setattr(searches, "build_first", build_first)
    monkeypatch.setattr(searches, "recover_images", partial(searches.recover_images, count=8))
    clock = SimpleNamespace(monotonic=iter([0.0, 5.0]).__next__)
    monkeypatch.setattr(searches, "time", clock)
    row = measure(victim(10.0), CLEAN, Way("deepinspect", images=False), held())
    ((clean, methods, otherwise),) = given
    assert row["seconds"] == 6.0  # Those to recover them, and those of the search.
    assert (methods, otherwise) == (["deepinspect"], ())
    assert str(clean.source) == "images recovered from the model"
    assert len(clean) > 0


def test_what_was_measured_is_not_measured_again(tmp_path, monkeypatch):
    ways = (Way("abs"), Way("deepinspect"), Way("deepinspect", images=False))
    measured = []

    def stand_in(model, clean, way, held):
        if way == ways[2] and len(measured) < 3:
            measured.append("interrupted")
            raise KeyboardInterrupt
        measured.append(way)
        return {"named": [], "seconds": 1.0}

    monkeypatch.setattr(searches, "WAYS", ways)
    monkeypatch.setattr(searches, "measure", stand_in)
    file = tmp_path / "searches.json"
    with pytest.raises(KeyboardInterrupt):
        measure_missing(victim(10.0), CLEAN, Kept(file), Steps(), None, target=0)
    steps = Steps()
    measure_missing(victim(10.0), CLEAN, Kept(file), steps, None, target=0)
    assert measured == [*ways[:2], "interrupted", ways[2]]
    assert steps.taken == 3
    rows = json.loads(file.read_text())
    assert [(r["method"], r["images"], r["target"]) for r in rows] == [
        ("abs", True, 0),
        ("deepinspect", True, 0),
        ("deepinspect", False, 0),
    ]
