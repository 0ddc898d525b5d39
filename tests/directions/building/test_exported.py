"""A bundle for a `torch.export` program."""

import torch

from tests.directions.backdoored import TENSOR, tensor_sets
from tests.directions.backdoored_nets import backdoored
from torchserve_fire.model.load_model import load_model
from torchserve_fire_build.building.from_samples import build_bundle
from torchserve_fire_build.measure.evaluate import evaluate_bundle
from torchserve_fire_build.samples.open_samples import open_samples


def test_a_program_is_repaired(tmp_path):
    example = (torch.zeros(2, 6),)
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(backdoored("vector", drive=50.0), example, dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "net.pt2")
    loaded = load_model(None, tmp_path / "net.pt2")
    sets = tensor_sets(tmp_path / "c", "vector", paired=True)
    samples = [open_samples(path, TENSOR) for path in (sets.clean, sets.triggered)]
    bundle = build_bundle(loaded, *samples).bundle
    assert bundle.weights_sha256 == loaded.weights_sha256
    figures = evaluate_bundle(loaded.model, bundle, *samples)
    assert figures.clean_accuracy[1] >= 0.99
    assert figures.attack_success_rate[1] <= 0.02
    assert figures.recovered_accuracy[1] >= 0.98
