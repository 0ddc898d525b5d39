"""A build, and what is done with its bundle, for a model on another device."""

import pytest
import torch

from tests.directions.backdoored import TENSOR, loaded, tensor_sets
from tests.elsewhere import ELSEWHERE, elsewhere
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire_build.building.from_samples import build_bundle
from torchserve_fire_build.measure.evaluate import evaluate_bundle
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.screening.bundle_screening import screen_with_bundle
from torchserve_fire_build.screening.screen_samples import screen_samples


def all_of_it(folder, sets, model, file, **options):
    """Build, evaluate and screen; return the bundle's file and the tables."""
    clean, triggered = (open_samples(part, TENSOR) for part in (sets.clean, sets.triggered))
    bundle = build_bundle(model, clean, triggered, **options).bundle
    save_bundle(bundle, folder / file)
    figures = evaluate_bundle(model.model, bundle, clean, triggered)
    screened = [
        screen_with_bundle(model.model, bundle, triggered),
        screen_samples(model.model, clean, triggered),
    ]
    return (folder / file).read_bytes(), figures.table(), [found.table() for found in screened]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("map", {}), ("token", {"augment": "none"}), ("vector", {"form": "clamp"})],
)
@pytest.mark.slow
def test_the_bundle_is_the_same_and_so_is_what_it_does(
    monkeypatch, tmp_path, kind, options, paired
):
    sets = tensor_sets(tmp_path / "samples", kind, paired=paired)
    expected = all_of_it(tmp_path, sets, loaded(kind), "here.safetensors", **options)
    with elsewhere(monkeypatch):
        model = loaded(kind)
        model.model.to(ELSEWHERE)
        found = all_of_it(tmp_path, sets, model, "there.safetensors", **options)
    assert found == expected


def test_what_is_saved_is_on_the_cpu(monkeypatch, tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    with elsewhere(monkeypatch):
        model = loaded("vector")
        model.model.to(ELSEWHERE)
        clean, triggered = (open_samples(part, TENSOR) for part in (sets.clean, sets.triggered))
        bundle = build_bundle(model, clean, triggered, augment="none").bundle
    for layer in bundle.repairing_layers:
        assert layer.correction.direction.device == torch.device("cpu")
    for layer in bundle.detecting_layers:
        assert layer.detection.weight.device == torch.device("cpu")
