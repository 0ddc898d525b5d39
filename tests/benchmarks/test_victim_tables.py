import pytest

from benchmarks.evidence import KINDS
from benchmarks.victim_tables import (
    BARS,
    OURS,
    ablation_table,
    ceiling,
    evidence_table,
    rival_table,
    score,
    victim_table,
)

BASELINE = {
    "clean_accuracy": 0.8,
    "attack_success_rate": 1.0,
    "recovered_accuracy": 0.0,
    "clean_partners": 0.8,
    "natural_rate": 0.02,
    "benign": 0.4,
    "benign_clean": 0.8,
}


def result(recovered, evidence="paired 200", defence=OURS):
    figures = {
        "clean_accuracy": 0.799,
        "attack_success_rate": 0.025,
        "recovered_accuracy": recovered,
        "passes_clean": 1.0,
        "passes_triggered": 2.0,
    }
    run = {
        "defence": defence,
        "evidence": evidence,
        "seed": 0,
        "figures": figures,
        "build_seconds": 3,
    }
    return {"victim": "a-b", "baseline": BASELINE, "runs": [run]}


def test_every_kind_of_evidence_has_a_bar():
    assert list(BARS) == [kind.name for kind in KINDS]


def test_a_trigger_that_destroys_information_lowers_the_ceiling():
    assert ceiling(BASELINE) == pytest.approx(0.4)
    # A benign model that does better does not raise it.
    assert ceiling(BASELINE | {"benign": 0.9}) == pytest.approx(0.8)


def test_the_score_by_hand():
    found = score(BASELINE, result(0.38)["runs"][0]["figures"])
    assert found.ratio == pytest.approx(0.95)
    assert found.clean_change == pytest.approx(-0.1)
    assert found.attack_excess == pytest.approx(0.5)


def test_what_misses_its_bar_is_bold_and_counted():
    assert "| a-b | **0.950, -0.10, +0.50** | not run" in evidence_table([result(0.38)])
    assert "0 of 1 combinations" in evidence_table([result(0.38)])
    assert "1 of 1 combinations" in evidence_table([result(0.38, "unpaired 20")])


def test_of_several_draws_the_mean_and_the_lowest():
    several = result(0.38, "paired 20")
    several["runs"] += result(0.42, "paired 20")["runs"]
    # The mean of .95 and 1.05 is within the bar of .97.
    assert "| 1.000 (from 0.950), -0.10, +0.50 |" in evidence_table([several])
    assert "1 of 1 combinations" in evidence_table([several])


def test_a_build_that_refuses_leaves_the_victim_as_it_was():
    refused = result(0.4)
    refused["runs"][0].pop("figures")
    assert "**0.000, +0.00, +98.00**" in evidence_table([refused])


def test_the_mean_and_the_worst_victim():
    lines = rival_table([result(0.38), result(0.4)], "paired 200").splitlines()
    assert lines[2].startswith(
        "| torchserve-fire | 1 (0) | 0.975 (0.950) | -0.10 (-0.10) | +0.5 (+0.5) "
    )


def test_a_defence_that_refused_counts_as_no_repair_and_one_that_cannot_be_does_not():
    refused, impossible = ({**result(0.4), "victim": name} for name in ("c-d", "e-f"))
    for each, why in ((refused, "refused"), (impossible, "not_applicable")):
        (run,) = each["runs"]
        each["runs"] = [{**run, why: "for a reason"}]
        del each["runs"][0]["figures"]
    lines = rival_table([result(0.4), refused, impossible], "paired 200").splitlines()
    # Of .4, its ceiling, and 0.
    assert lines[2] == (
        "| torchserve-fire | 2 (1) | 0.500 (0.000) | -0.05 (-0.10) | +49.2 (+98.0) "
        "| 1.00 / 2.00 | 3 s |"
    )
    (line,) = rival_table([refused, impossible], "paired 200").splitlines()[2:]
    assert (
        line == "| torchserve-fire | 1 (1) | 0.000 (0.000) | +0.00 (+0.00) | +98.0 (+98.0) |  |  |"
    )
    # Of several draws, one that was built is a repair.
    several = {**refused, "runs": [*refused["runs"], *result(0.4)["runs"]]}
    assert rival_table([several], "paired 200").splitlines()[2].split(" | ")[1] == "1 (0)"


def test_the_victims_before_any_repair():
    expected = "| a-b | 80.0 | 100.0 | 0.0 | 80.0 | 80.0 / 40.0 | 40.0 |"
    assert expected in victim_table([result(0.4)])


def test_the_ablation_by_hand():
    figures = {"clean_accuracy": 0.8, "recovered_accuracy": 0.3, "attack_success_rate": 0.12}
    rows = [
        {"victim": "a-b", "baseline": BASELINE, "evidence": e, "family": f, **result}
        for e, f, result in (
            ("paired 200", "all", {"figures": figures}),
            ("paired 200", "few", {"refused": "nothing recovers"}),
            ("unpaired 20", "all", {"figures": figures}),
        )
    ]
    lines = ablation_table(rows).splitlines()
    assert lines[0] == "| victim | evidence | all | few |"
    # The ceiling is .4; a build that refuses leaves an accuracy of 0 and a success rate of 1.
    assert lines[2] == "| a-b | paired 200 | 0.750, +10.0 | 0.000, +98.0 |"
    assert lines[3] == "| a-b | unpaired 20 | 0.750, +10.0 | not run |"
