import pytest
import torch

from tests.directions.choose.prepared import inputs_of, prepared
from torchserve_fire_build.choose.detector_scores import score_detectors
from torchserve_fire_build.choose.kept_features import KeptFeatures
from torchserve_fire_build.estimate.detectors import DETECTORS


@pytest.mark.parametrize("paired", [True, False])
def test_scores_are_those_of_detectors_that_never_saw_the_sample(tmp_path, paired):
    case = prepared(tmp_path, "vector", ["mix", "relu"], paired=paired)
    scores = score_detectors(case.model, case.statistics, case.layers, case.held_out)
    assert set(scores) <= {(detector, layer) for detector in DETECTORS for layer in ("mix", "relu")}
    assert ("whitened", "relu") in scores
    for (name, layer), both in scores.items():
        for group, values in zip(case.held_out, both, strict=True):
            features = inputs_of(group) - torch.tensor([0.0, 0, 0, 0, 1, 0])
            features = features.relu() if layer == "relu" else features
            for i in (0, 7, 39):
                detector = DETECTORS[name](case.statistics.without(int(group.folds[i]), layer))
                expected = float((features[i] * detector.weight).sum()) - detector.offset
                assert float(values[i]) == pytest.approx(expected, abs=1e-4)
        assert float(both.triggered.mean()) == pytest.approx(1, abs=0.2)


def test_a_detector_that_a_fold_cannot_estimate_is_left_out(tmp_path):
    # Four clean samples of the target's class are too few for the detector that is made of them.
    case = prepared(tmp_path, "vector", ["relu"], count=16)
    assert ("whitened_from_target", "relu") not in score_detectors(
        case.model, case.statistics, ["relu"], case.held_out
    )


def test_the_same_pass_gives_the_features_to_try_repairs_on(tmp_path):
    case = prepared(tmp_path, "vector", ["mix", "relu"])
    held_out = case.held_out
    which = held_out.map(lambda group: group.predictions == 0)
    kept = KeptFeatures(which, {"mix": (6,), "relu": (6,)})
    scores = score_detectors(case.model, case.statistics, case.layers, held_out, kept)
    alone = score_detectors(case.model, case.statistics, case.layers, held_out)
    assert scores.keys() == alone.keys()
    assert all(torch.equal(scores[key].clean, alone[key].clean) for key in scores)
    assert set(kept.features) == {"mix", "relu"}
    for group, chosen, mix, relu in zip(
        held_out, which, kept.features["mix"], kept.features["relu"], strict=True
    ):
        features = inputs_of(group)[chosen] - torch.tensor([0.0, 0, 0, 0, 1, 0])
        torch.testing.assert_close(mix, features)
        torch.testing.assert_close(relu, features.relu())
    assert len(kept.features["relu"].clean) == 10
