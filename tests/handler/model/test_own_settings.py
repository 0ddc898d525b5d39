from pathlib import Path

from torchserve_fire.model.own_settings import own_settings, with_own_settings

OWN = {"input": "image", "resize": 256, "crop": [224, 224], "mean": [0.5] * 3, "std": [0.5] * 3}


def test_what_a_file_does_not_say_comes_with_the_model():
    values = {"minWorkers": 1, "handler": {"topk": 2, "mean": [0, 0, 0]}}
    assert with_own_settings(values, OWN) == {
        "minWorkers": 1,
        "handler": {**OWN, "topk": 2, "mean": [0, 0, 0]},
    }
    assert values == {"minWorkers": 1, "handler": {"topk": 2, "mean": [0, 0, 0]}}


def test_a_file_without_settings():
    for values in ({}, {"handler": None}):
        assert with_own_settings(values, OWN) == {"handler": OWN}


def test_who_gives_a_size_gives_all_that_belongs_to_it():
    made = with_own_settings({"handler": {"image_size": [32, 32]}}, OWN)["handler"]
    assert made["image_size"] == [32, 32]
    assert "resize" not in made
    assert "crop" not in made
    assert made["mean"] == OWN["mean"]


def test_another_kind_of_input_has_nothing_of_it():
    values = {"handler": {"input": "tensor"}}
    assert with_own_settings(values, OWN) == values


def test_what_is_no_map_stays_to_be_refused():
    assert with_own_settings({"handler": 5}, OWN) == {"handler": 5}


def test_other_models_bring_none():
    assert own_settings(Path("net.py"), Path("w.pth")) == {}
    assert own_settings(None, Path("net.pt2")) == {}
    assert with_own_settings({"handler": {"topk": 2}}, {}) == {"handler": {"topk": 2}}
