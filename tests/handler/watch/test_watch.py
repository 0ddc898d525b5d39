import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.handler.archive import CLEAN_SCORES, make_archive, make_bundle
from torchserve_fire.format.bundle import INPUT_LAYER, Detection, Layer, with_digest
from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.repair.verdict import Verdict
from torchserve_fire.serve.torchserve_metrics import TorchServeMetrics
from torchserve_fire.watch.score_scale import LABELS
from torchserve_fire.watch.watch import Watch


@pytest.fixture
def context(tmp_path):
    return make_archive(tmp_path)


def metrics_to(context, bundle):
    return TorchServeMetrics(context.metrics, "m", "1.0", bundle.digest)


def watch_of(context, mode="repair", **bundle_fields):
    folder = Path(context.system_properties["model_dir"])
    bundle = with_digest(replace(make_bundle(folder / "w.pth"), **bundle_fields), "d" * 64)
    return Watch(metrics_to(context, bundle), ("m", "1.0"), bundle, mode)


def verdict(*scores):
    values = torch.tensor(scores)
    return Verdict(values, values > 6, (values,))


def reported(caplog):
    """What was given to TorchServe: {name: {labels: value}}."""
    found = {}
    for record in caplog.records:
        if match := re.match(r"\[METRICS\](\w+)\.\w+:([\d.]+)\|#([^|]*)\|", record.message):
            found.setdefault(match[1], {})[match[3]] = float(match[2])
    return found


COMMON = "ModelName:m,ModelVersion:1.0,Bundle:" + "d" * 64


def test_what_was_judged_is_counted_and_reported(context, caplog):
    watch = watch_of(context)
    with caplog.at_level("INFO"):
        watch.judged(verdict(2.0, 7.0, 9.0), [False, None, True, True], {})
        watch.refused("InputError", "empty")
        watch._tally.flush()
    found = reported(caplog)
    assert found["FireRequestsJudged"] == {f"{COMMON},Level:Model": 3}
    assert found["FireRequestsFlagged"] == {f"{COMMON},Level:Model": 2}
    assert found["FireRequestsRepaired"] == {f"{COMMON},Level:Model": 2}
    assert found["FireBadInputs"] == {f"{COMMON},Reason:empty,Level:Model": 1}
    assert "FireRequestsRejected" not in found
    # (score - 6) / 4: -1, .25 and .75, counted at each limit that they do not exceed.
    at = {
        label: found["FireDetectorScore"].get(f"{COMMON},Target:0,le:{label},Level:Model", 0)
        for label in LABELS
    }
    assert at == {"-4": 0, "-2": 0, "-1": 1, "-0.5": 1, "-0.25": 1, "0": 1, "0.25": 2,
                  "0.5": 2, "1": 3, "2": 3, "4": 3, "+Inf": 3}  # fmt: skip
    described = watch.describe()
    assert (described["judged"], described["flagged"], described["repaired"]) == (3, 2, 2)
    assert described["bad_inputs"] == {"empty": 1}
    assert described["drift"] == {"0": None}


@pytest.mark.parametrize("mode", ["observe", "reject"])
def test_what_is_not_repaired_is_not_counted_so(context, mode):
    watch = watch_of(context, mode)
    watch.judged(verdict(7.0), [True], {})
    assert watch.describe()["flagged"] == 1
    assert watch.describe()["repaired"] == 0
    watch.refused("FlaggedInput", "other")
    watch.refused("RepairError", "other")
    assert (watch.describe()["rejected"], watch.describe()["unrepaired"]) == (1, 1)


def test_drift_is_judged_on_what_was_not_flagged(context, caplog):
    watch = watch_of(context)
    with caplog.at_level("INFO"):
        for _ in range(500):
            watch.judged(verdict(2.9, 99.0), [False, True], {})
    (surprise,) = reported(caplog)["FireScoreDrift"].values()
    # All in one bin of ten: (.9^2 + 9 * .1^2) / (.1 (1/500 + 1/40)) = 333, of 9 degrees of freedom.
    assert surprise == pytest.approx(66.5, abs=1)
    assert watch.describe()["drift"] == {"0": pytest.approx(surprise, abs=0.01)}


def test_a_flagged_request_has_a_line_with_its_place_and_id(context, caplog):
    watch = watch_of(context)
    with caplog.at_level("WARNING"):
        watch.judged(verdict(2.0, 8.0), [False, None, True], {0: "a", 1: "b", 2: "c"})
    (line,) = [r.message for r in caplog.records]
    assert '"request": "c", "score": 0.5' in line


def test_a_score_that_is_no_number_is_beyond_all_limits(context):
    watch = watch_of(context)
    watch.judged(verdict(float("nan")), [True], {})
    assert watch._tally.by_label("FireDetectorScore") == {"0": 1}  # In +Inf alone.


def test_without_clean_scores_requests_are_counted_and_no_scores(context):
    layer = Layer("features", (12,), Detection(torch.ones(12), 6.0), Shift(torch.ones(12), 1.0))
    watch = watch_of(context, layers=(layer,))
    watch.judged(verdict(2.0, 7.0), [False, True], {})
    assert watch.describe()["judged"] == 2
    assert watch.describe()["drift"] == {}


def test_each_of_several_repairs_has_scores_of_its_own(context):
    def layer(target, threshold):
        detection = Detection(torch.ones(12), threshold, True, CLEAN_SCORES)
        return Layer("features", (12,), detection, Shift(torch.ones(12), 1.0), target)

    watch = watch_of(context, layers=(layer(0, 6.0), layer(2, 8.0)))
    scores = (torch.tensor([2.0, 7.0]), torch.tensor([8.4, 1.0]))
    watch.judged(
        Verdict(torch.tensor([2.0, 1.0]), torch.tensor([False, False]), scores), [False, False], {}
    )
    assert set(watch.describe()["drift"]) == {"0", "2"}
    by_target = {
        key[1]: value
        for key, value in watch._tally._all.items()
        if key[0] == "FireDetectorScore" and key[1][1] == "0.25"
    }
    assert by_target == {("0", "0.25"): 2, ("2", "0.25"): 2}


def of_one_target():
    """Two repairs for target 0, and one of the model's input."""
    detection = Detection(torch.ones(12), 6.0, True, CLEAN_SCORES)
    layer = Layer("features", (12,), detection, Shift(torch.ones(12), 1.0))
    of_input = Detection(torch.ones(3, 2, 2), 1.0, True, CLEAN_SCORES, anywhere=True)
    return (
        Layer(INPUT_LAYER, (3, 2, 2), of_input),
        replace(layer, repair=1),
        replace(layer, repair=2),
    )


def test_the_scores_of_the_models_input_are_not_watched(context):
    watch = watch_of(context, layers=of_one_target()[:1])
    watch.judged(Verdict(torch.tensor([2.0]), torch.tensor([True]), ()), [True], {})
    described = watch.describe()
    assert (described["flagged"], described["drift"]) == (1, {})
    assert watch._tally.by_label("FireDetectorScore") == {}
    # Those of the layer beside it are.
    watch = watch_of(context, layers=of_one_target()[:2])
    scores = (torch.tensor([2.0, 7.0]),)
    watch.judged(Verdict(scores[0], torch.tensor([False, True]), scores), [False, True], {})
    assert watch.describe()["drift"] == {"0": None}
    assert watch._tally._all["FireDetectorScore", ("0", "0")] == 1


@pytest.mark.parametrize("drifting", [0, 1])
def test_of_two_detectors_for_one_target_the_larger_drift_is_told(context, caplog, drifting):
    watch = watch_of(context, layers=of_one_target()[1:])
    # As calibrated, a tenth in each bin; and all in one bin.
    usual = torch.tensor([0.25 + 0.5 * (i % 10) for i in range(500)])
    scores = [usual, usual]
    scores[drifting] = torch.full((500,), 2.9)
    with caplog.at_level("INFO"):
        flagged = torch.zeros(500, dtype=torch.bool)
        watch.judged(Verdict(usual, flagged, scores), flagged.tolist(), {})
    assert watch.describe()["drift"] == {"0": pytest.approx(66.5, abs=1)}
    (told,) = reported(caplog)["FireScoreDrift"].values()
    assert told == pytest.approx(66.5, abs=1)


def test_equal_clean_scores_do_not_divide_by_zero(context):
    detection = Detection(torch.ones(12), 6.0, clean_scores=CleanScores(3, (1.0,) * 9))
    layer = Layer("features", (12,), detection, Shift(torch.ones(12), 1.0))
    watch_of(context, layers=(layer,)).judged(verdict(2.0), [False], {})


def test_counters_begin_at_nothing_so_that_the_first_event_is_a_rise(context, caplog):
    with caplog.at_level("INFO"):
        watch_of(context)
    assert {name: list(values.values()) for name, values in reported(caplog).items()} == {
        "FireRequestsJudged": [0],
        "FireRequestsFlagged": [0],
        "FireRequestsRepaired": [0],
        "FireRequestsRejected": [0],
        "FireRequestsUnrepaired": [0],
        "FireBundleSwaps": [0],
        "FireBundleSwapsRefused": [0],
    }


def test_of_several_layers_the_place_that_shows_most_is_logged(context, caplog):
    def layer(target, threshold):
        detection = Detection(torch.ones(12), threshold, True, CLEAN_SCORES)
        return Layer("features", (12,), detection, Shift(torch.ones(12), 1.0), target)

    watch = watch_of(context, layers=(layer(0, 6.0), layer(2, 8.0)))
    scores = (torch.tensor([2.0]), torch.tensor([9.0]))
    with caplog.at_level("WARNING"):
        watch.judged(Verdict(scores[1], torch.tensor([True]), scores), [True], {})
    assert '"score": 0.25' in caplog.text
