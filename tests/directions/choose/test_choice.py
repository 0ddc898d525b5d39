import torch

from torchserve_fire.format.correction_forms import Clamp
from torchserve_fire.repair.corrections import build_correction
from torchserve_fire_build.choose.choice import Candidate, build_repairing_layer
from torchserve_fire_build.estimate.layer_statistics import LayerStatistics
from torchserve_fire_build.estimate.moments import Moments


def moments_of(values):
    moments = Moments()
    moments.add(torch.as_tensor(values, dtype=torch.float32))
    return moments


# The clean features are 0 and 2 in the first coordinate; triggered, 4 is added to the second.
CLEAN, TRIGGERED = [[0.0, 1.0], [2.0, 1.0]], [[0.0, 5.0], [2.0, 5.0]]
STATISTICS = LayerStatistics(
    moments_of(CLEAN), Moments(), moments_of(TRIGGERED), moments_of([[0.0, 4.0]] * 2)
)


def test_a_shift_moves_triggered_samples_onto_clean_ones():
    layer = build_repairing_layer(Candidate("a", "mean_difference"), STATISTICS, None)
    assert (layer.name, layer.feature_shape, layer.role) == ("a", (2,), "repairs")
    moved = build_correction(layer.correction)(torch.tensor(TRIGGERED))
    assert moved.tolist() == CLEAN


def test_the_strength_multiplies_the_shift():
    layer = build_repairing_layer(Candidate("a", "mean_difference", 0.5), STATISTICS, None)
    moved = build_correction(layer.correction)(torch.tensor(TRIGGERED))
    assert moved.tolist() == [[0, 3], [2, 3]]


def test_a_clamp_moves_samples_beyond_the_clean_range_to_its_median():
    # Scores are 0 for the mean clean sample and 1 for the mean triggered one.
    layer = build_repairing_layer(Candidate("a", "mean_difference"), STATISTICS, (0.5, 0.25))
    assert isinstance(layer.correction, Clamp)
    clamp = build_correction(layer.correction)
    features = torch.tensor([[0.0, 1.0], [7.0, 2.9], [7.0, 3.1], [2.0, 5.0]])
    expected = torch.tensor([[0.0, 1.0], [7.0, 2.9], [7.0, 2.0], [2.0, 2.0]])
    torch.testing.assert_close(clamp(features), expected)


def test_if_nothing_differs_there_is_no_clamp():
    same = LayerStatistics(moments_of(CLEAN), Moments(), moments_of(CLEAN), Moments())
    assert build_repairing_layer(Candidate("a", "mean_difference"), same, (1.0, 0.0)) is None
