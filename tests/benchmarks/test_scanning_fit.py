import pytest
import torch

from benchmarks.scanning_fit import fit, fit_all_to_all, judge_left_out, verdict_rows
from torchserve_fire_build.scan.findings import FREELY, RESTARTS, STEPS


def row(name, targets, lead, gap, *, seed=0, followed=0.1):
    """A scan of ten classes, of which class 4 was reached, and took less effort by a gap."""
    effort = [5.0 + 0.2 * ((target + seed) % 5) for target in range(10)]
    effort[4] = 5.4 - gap
    compared = {
        "targets": list(range(10)),
        "steps": 9,
        "effort": effort,
        "success": [1.0] * 10,
    }
    return {
        "victim": name,
        "data": "d",
        "backdoored": targets != [],
        "targets": targets,
        "classes": 10,
        "count": 200,
        "seed": seed,
        "cpu_seconds": 1.0,
        "places": {"4": [lead] * 5},
        "turned": [[30, 4, lead]],
        "leads": [[kind, 4, lead] for kind in FREELY for _ in range(RESTARTS)],
        "comparisons": dict.fromkeys(STEPS, compared),
        "all_to_all": [["patch", followed], ["patch", followed + 0.02]],
    }


BENIGN = [
    row(f"benign-{i}", [], 0.2 + 0.02 * i, 0.3 + 0.05 * i, seed=i, followed=0.05 + 0.01 * i)
    for i in range(12)
]
VICTIMS = [row(f"victim-{i}", [4], 0.9 + 0.01 * i, 6.0, seed=i) for i in range(9)]
OTHERS = [row(f"each-another-{i}", None, 0.2, 0.3, seed=i, followed=0.4) for i in range(2)]


def test_what_is_usual_is_what_most_benign_models_do_not_exceed():
    usual, weights, _ = fit([*BENIGN, *VICTIMS])
    assert usual.shape == (2 + len(FREELY) + len(STEPS),)
    # Eleven of twelve leads lie below the last one's, and nine below this quantile.
    shares = -(1 - torch.tensor([row["leads"][0][2] for row in BENIGN])).log()
    assert float(usual[0]) == pytest.approx(float(shares.double().quantile(0.9)), rel=1e-6)
    assert bool((weights > 0).all())


def test_a_search_that_tells_models_apart_weighs_more():
    def told_by_places(row):
        share = 0.9 if row["targets"] else 0.1
        return {**row, "places": {"4": [share] * 5}, "leads": [[k, 4, 0.3] for k in FREELY]}

    rows = [told_by_places(row) for row in (*BENIGN, *VICTIMS)]
    alike = {method: rows[0]["comparisons"][method] for method in STEPS}
    _, weights, _ = fit([{**row, "comparisons": alike} for row in rows])
    assert float(weights[0]) > float(weights[1:].max())


@pytest.mark.slow
def test_models_are_judged_by_a_fit_that_never_saw_them():
    rows = [*BENIGN, *VICTIMS, *OTHERS]
    verdicts = judge_left_out(rows)
    found = [verdict.found for verdict in verdicts]
    assert True not in found[: len(BENIGN)]
    assert found[len(BENIGN) :] == [True] * (len(VICTIMS) + len(OTHERS))
    assert all(verdict.targets == [4] for verdict in verdicts[len(BENIGN) : -2])
    # No class stands out by the others.
    assert all(verdict.targets == [] for verdict in verdicts[-2:])


def test_a_share_that_follows_lies_between_those_of_benign_models_and_of_victims():
    slope, offset = fit_all_to_all([*BENIGN, *VICTIMS, *OTHERS])
    # Half of the odds lie between 0.17, the highest of benign models, and 0.41.
    assert 0.17 < -offset / slope < 0.41
    # Scans that did not look for it do not count, and neither do victims with one target.
    unseen = {**row("benign-unseen", [], 0.2, 0.3), "all_to_all": []}
    assert fit_all_to_all([*BENIGN, *OTHERS, unseen]) == (slope, offset)


@pytest.mark.slow
def test_a_strange_benign_model_is_not_excused_by_itself():
    strange = row("benign-strange", [], 0.99, 6.0)
    rows = [*BENIGN, *VICTIMS, strange]
    (said,) = [said for said in verdict_rows(rows) if said["victim"] == "benign-strange"]
    assert said["found"] is True
    assert said["most_likely"] == 4
    assert "leads" not in said


@pytest.mark.slow
def test_draws_of_one_model_count_as_one_model():
    often = [row("victim-0", [4], 0.9, 6.0) for _ in range(5)]
    _, once, offset = fit([*BENIGN, *VICTIMS])
    _, again, same = fit([*BENIGN, *often, *VICTIMS[1:]])
    torch.testing.assert_close(again, once, rtol=1e-6, atol=0)
    assert same == pytest.approx(offset, rel=1e-6)
