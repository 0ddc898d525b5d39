import pytest

from benchmarks.altered_tables import altered_table, met_table, outcome, unpaired_table
from benchmarks.altered_triggers import ALTERED
from tests.benchmarks.test_little_evidence_tables import cells

IGNORED = {"attack_success_rate_before": 0.125, "recovered_accuracy_before": 0.5, "ceiling": 0.8}


def figures(rate=0.03, ratio=0.98, flagged=1.0):
    return {
        **IGNORED,
        "attack_success_rate_before": 1.0,
        "attack_success_rate": rate,
        "recovered_to_ceiling": ratio,
        "flagged": flagged,
    }


def row(augment="standard", seed=0, evidence="paired 200", victim="v-vgg", images=9, **others):
    triggers = dict.fromkeys(ALTERED, IGNORED) | {"as it is": figures()}
    return {
        "victim": victim,
        "evidence": evidence,
        "augment": augment,
        "seed": seed,
        "images": images,
        "clean": {"natural_rate": 0.01},
        "triggers": triggers | {name.replace("_", " "): each for name, each in others.items()},
    }


def test_the_mean_over_the_draws_and_the_lowest_ratio():
    worse = figures(rate=0.13, ratio=0.9, flagged=0.5)
    rows = [row(), row(seed=1, as_it_is=worse), row("none", images=12, at_four_places=figures())]
    text = altered_table(rows)
    _, _, first, second, ignored = cells(text)
    assert first[:3] == ["v-vgg", "as it is", "100.0"]
    assert first[3:6] == ["**+7.0**", "**0.940 (0.900)**", "75.0"]
    assert first[6:] == ["+2.0", "0.980", "100.0"]
    assert second[:2] == ["", "at four places"]
    assert second[3:] == ["not measured", "", "", "+2.0", "0.980", "100.0"]
    assert ignored[1].startswith("obeyed in less than half: at 75 % (12.5), at 50 % (12.5)")
    assert "as it is" not in ignored[1]
    assert text.endswith("Draws of the evidence: 2. Test images: 9 to 12.\n")


def test_other_evidence_has_no_lines_of_its_own():
    assert altered_table([row(evidence="paired 20")]) == "Not measured yet.\n"
    assert len(cells(altered_table([row(), row(evidence="paired 20", victim="w")]))) == 4


def test_a_build_that_refused():
    refused = {**row(as_it_is=figures(rate=1, ratio=0, flagged=None)), "refused": "no layer"}
    _, _, line, _ = cells(altered_table([refused]))
    assert line[3:6] == ["**+99.0**", "**0.000**", "1 of 1 builds refused"]
    found = outcome([refused, row(seed=1)], "as it is", "standard")
    assert (found.draws, found.refused, found.flagged) == (2, 1, 100)
    assert found.ratio == pytest.approx(0.49)


def test_what_is_within_the_limits_is_counted():
    beyond = figures(rate=0.05)
    rows = [
        row(at_four_places=figures(ratio=0.96)),
        row(victim="w-vgg", as_it_is=beyond),
        row(victim="w-vit", as_it_is=beyond),
        row("none", evidence="unpaired 100", as_it_is=beyond),
        row("none", evidence="unpaired 100", victim="w-vit", as_it_is=figures(rate=0.08)),
    ]
    _, _, *lines = cells(met_table(rows))
    assert lines == [
        ["paired 200", "3 (ViT: 5)", "0.97", "2 of 4", "not measured"],
        ["paired 20", "6", "any", "not measured", "not measured"],
        ["unpaired 100", "6", "any", "not measured", "1 of 2"],
    ]


def test_given_victims_have_a_table_from_unpaired_samples():
    rows = [
        row(victim="zoo-badnets", evidence="unpaired 100"),
        row(victim="zoo-badnets"),
        row(victim="badnets-vgg", evidence="unpaired 100"),
    ]
    _, _, *lines = cells(unpaired_table(rows))
    assert [line[0] for line in lines if line[0]] == ["zoo-badnets"]
    assert unpaired_table(rows) == altered_table(rows[:1], "unpaired 100")


def test_nothing_measured():
    empty = (altered_table([]), met_table([]), unpaired_table([]))
    assert empty == ("Not measured yet.\n",) * 3
