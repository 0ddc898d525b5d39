from benchmarks.adaptive_tables import altered_table, perturbed_table
from benchmarks.altered_triggers import ALTERED
from tests.benchmarks.test_little_evidence_tables import cells


def figures(rate, flagged=0.5):
    return {
        "attack_success_rate_before": 1.0,
        "attack_success_rate": rate,
        "attack_success_rate_rejecting": 0.25,
        "recovered_accuracy_before": 0.0,
        "recovered_accuracy": 0.75,
        "flagged": flagged,
    }


def altered_row(**others):
    return {
        "victim": "v",
        "clean": figures(0.01),
        "altered": {name: figures(0.125) for name in ALTERED},
        "prepared": {"altered": {name: figures(0.0625) for name in ALTERED}},
        **others,
    }


def attempts(adversarial):
    return {
        "adversarial": figures(adversarial),
        "unflagged": {"with_trigger": figures(0.4), "without_trigger": figures(0.1)},
        "repaired": {"with_trigger": figures(0.3), "without_trigger": figures(0.2)},
    }


def test_every_alteration_has_a_line_in_the_order_of_their_list():
    _, _, clean, *altered = cells(altered_table([altered_row()]))
    assert clean == ["v", "none", "100.0", "50.0", "1.0", "75.0", "25.0", ""]
    assert [line[1] for line in altered] == list(ALTERED)
    assert altered[0][2:] == ["100.0", "50.0", "12.5", "75.0", "25.0", "6.2, 75.0"]


def test_a_bundle_that_was_refused():
    *_, last = cells(altered_table([altered_row(prepared={"refused": "none"})]))
    assert last[-1] == "refused"


def test_the_trigger_adds_what_the_best_attempt_with_it_has_over_the_best_without():
    _, _, eight, ten = cells(
        perturbed_table([{"victim": "v", "radii": {"10": attempts(0.15), "8": attempts(0.35)}}])
    )
    assert eight[:4] == ["v", "8", "35.0, 75.0, 50.0", "40.0, 75.0, 50.0"]
    assert eight[4:] == ["10.0, 75.0, 50.0", "30.0, 75.0, 50.0", "20.0, 75.0, 50.0", "+5.0"]
    assert (ten[1], ten[-1]) == ("10", "+20.0")
