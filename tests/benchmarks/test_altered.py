import json
from argparse import ArgumentParser
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks import altered
from benchmarks.altered import add_measured, describe_choice, measure_draw
from benchmarks.altered_triggers import ALTERED
from benchmarks.altered_victims import Subject, show_altered
from benchmarks.measure import hold
from tests.benchmarks.hand_made import Corner, Victim, bundle, images
from torchserve_fire.errors import FireError


def subject():
    return Subject(Victim(), (), Corner(), images(), hold(Corner(), images()))


def measured(build):
    found = subject()
    return measure_draw(found, show_altered(found), build)


def built():
    return SimpleNamespace(bundle=bundle())


def test_a_bundle_is_measured_on_what_the_victim_obeys():
    row = measured(built)
    assert row["images"] == 8
    assert row["chosen"] == "net.features: detects, shift 1"
    assert row["clean"] == {
        "accuracy_before": 1,
        "accuracy": 1,
        "natural_rate": 0,
        "flagged": 0,
    }
    assert list(row["triggers"]) == list(ALTERED)
    assert row["triggers"]["as it is"] == {
        "attack_success_rate_before": 1,
        "recovered_accuracy_before": 0,
        "ceiling": 1,
        "attack_success_rate": 0,
        "recovered_accuracy": 1,
        "recovered_to_ceiling": 1,
        "flagged": 1,
    }
    # The net looks at one place.
    assert row["triggers"]["moved by 1 pixel"] == {
        "attack_success_rate_before": 0,
        "recovered_accuracy_before": 1,
        "ceiling": 1,
    }


def test_a_build_that_refuses_leaves_the_victim_as_it_was():
    def refuse():
        raise FireError("no layer")

    row = measured(refuse)
    assert row["refused"] == "no layer"
    assert "chosen" not in row
    assert row["clean"]["flagged"] is None
    found = row["triggers"]["as it is"]
    assert (found["attack_success_rate"], found["recovered_to_ceiling"]) == (1, 0)
    assert found["flagged"] is None


def test_every_layer_is_described():
    (layer,) = bundle().layers
    detects, repairs = replace(layer, correction=None), replace(layer, name="b", detection=None)
    both = replace(bundle(), layers=(detects, repairs))
    assert describe_choice(both) == "net.features: detects; b: shift 1"


def test_without_options_all_is_measured():
    parser = ArgumentParser()
    add_measured(parser)
    args = parser.parse_args(["--data", "d", "--cache", "c"])
    assert (args.published, args.victims) == (None, None)
    assert (args.images, args.seeds) == (1000, [0])
    assert args.evidence == ["paired 200", "paired 20", "unpaired 100"]
    assert args.augment == ["standard", "none"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command on the hand-made victim; returns its rows, and what was built for them."""
    builds = []

    def build(model, evidence, seed, augment):
        builds.append((len(evidence.triggered), evidence.paired, seed, augment))
        return built()

    monkeypatch.setattr(altered.fire, "build", build)
    monkeypatch.setattr(altered, "draw_evidence", lambda kind, *_: as_many(kind))
    monkeypatch.setattr(altered, "load_data", lambda *_: SimpleNamespace(test=range(10)))
    victims = {"v": lambda data, cache, count: subject()}
    monkeypatch.setattr(altered, "find_victims", lambda published, names: victims)

    def command(*arguments):
        builds.clear()
        file = tmp_path / "altered.json"
        own = ["altered", "--data", "d", "--cache", "c", "--output", str(file), *arguments]
        monkeypatch.setattr("sys.argv", own)
        altered.main()
        return json.loads(file.read_text()), list(builds)

    return command


def as_many(kind):
    return SimpleNamespace(triggered=range(kind.triggered), paired=kind.paired)


def test_what_was_measured_is_not_measured_again(run):
    first = ["--images", "8", "--evidence", "paired 20", "--augment", "none"]
    rows, builds = run(*first)
    assert builds == [(20, True, 0, "none")]
    assert [(r["victim"], r["evidence"], r["seed"], r["augment"]) for r in rows] == [
        ("v", "paired 20", 0, "none")
    ]
    more = ["--images", "8", "--evidence", "paired 20", "unpaired 100", "--seeds", "0", "1"]
    rows, builds = run(*more)
    assert len(rows) == 8
    assert len(builds) == 7
    assert (20, True, 0, "none") not in builds
    assert (100, False, 1, "standard") in builds
    assert run(*more) == (rows, [])


def test_figures_on_another_number_of_images_are_replaced(run):
    first = ["--evidence", "paired 20", "--augment", "none"]
    rows, _ = run(*first, "--images", "8")
    again, builds = run(*first, "--images", "7")
    assert len(again) == len(rows) == 1
    assert len(builds) == 1
