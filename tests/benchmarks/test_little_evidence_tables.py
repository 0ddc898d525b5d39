from benchmarks.little_evidence_tables import (
    clean_only_table,
    last_bundle,
    pool_table,
    refined_table,
    searches_table,
)

BASELINE = {
    "attack_success_rate": 0.95,
    "clean_accuracy": 0.8,
    "clean_partners": 0.8,
    "benign": 0.75,
    "natural_rate": 0.02,
}
FIGURES = {
    "attack_success_rate": 0.03,
    "clean_accuracy": 0.795,
    "recovered_accuracy": 0.6,
    "flagged_clean": 0.004,
    "flagged_triggered": 0.9,
}
STEP = {"flagged": 25, "requests": 400, "triggered": 0.8}
BUNDLE = {"detects": "late", "repairs": ["early"]}


def cells(text):
    table = text.split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_clean_images_alone():
    victim = {"victim": "v", "baseline": BASELINE, "target": 0, "named": [0], "seconds": 9.6}
    several = {"bytes": 9, "targets": {"0": BUNDLE, "1": {"detects": "last", "repairs": ["mid"]}}}
    rows = [
        {**victim, "version": 5, "bundle": BUNDLE, "figures": FIGURES},
        {**victim, "victim": "u", "target": None, "named": [0, 1], "bundle": several},
        {**victim, "victim": "w", "named": [3], "refused": "no layer"},
    ]
    header, _, *found = cells(clean_only_table(rows))
    figures = ["90.0 / 0.40", "0.800", "-0.50", "+1.0"]
    assert found == [
        ["v", "a scan", "0 (0)", "10", "95.0", *figures, "late, early"],
        ["u", "all searches", "0, 1 (several)", "10", "95.0", *[""] * 4, "late, early; last, mid"],
        ["w", "all searches", "3 (0)", "10", "95.0", *[""] * 4, "no layer"],
    ]
    assert {len(row) for row in found} == {len(header)} == {10}


def test_each_search_by_itself():
    of = {"victim": "v", "baseline": BASELINE, "target": 0, "images": True, "seconds": 9.6}
    rows = [
        {"victim": "benign-v", "method": "abs", "images": True, "named": [], "seconds": 3.0},
        {**of, "method": "tabor", "named": [0], "figures": FIGURES},
        {**of, "method": "deepinspect", "images": False, "named": [0, 2], "refused": "no layer"},
        {**of, "victim": "u", "target": None, "method": "abs", "named": []},
    ]
    header, _, *found = cells(searches_table(rows))
    assert found == [
        ["u", "abs", "none (several)", "10", "95.0", *[""] * 5],
        ["v", "tabor", "0 (0)", "10", "95.0", "90.0 / 0.40", "0.800", "-0.50", "+1.0", ""],
        ["v", "deepinspect, no images", "0, 2 (0)", "10", "95.0", *[""] * 4, "no layer"],
        ["benign-v", "abs", "none", "3", *[""] * 6],
    ]
    assert {len(row) for row in found} == {len(header)}


def test_how_many_are_within_the_bars():
    good = {
        "recovered_accuracy": 0.75,
        "clean_accuracy": 0.8,
        "flagged_triggered": 0.95,
        "flagged_clean": 0.01,
    }
    victims = {
        "badnets-v": good,
        # Of those that work, .98 is asked for, and .9 where the trigger is made for each image.
        "blended-v": {**good, "flagged_triggered": 0.9, "recovered_accuracy": 0.3},
        "wanet-v": {**good, "flagged_triggered": 0.9, "clean_accuracy": 0.79},
        "bpp-v": {**good, "flagged_clean": 0.011},
    }
    rows = [
        {
            "victim": name,
            "baseline": BASELINE,
            "target": 0,
            "named": [0],
            "seconds": 1.0,
            "bundle": BUNDLE,
            "figures": {**FIGURES, **figures},
        }
        for name, figures in victims.items()
    ]
    rows[2]["named"] = [0, 3]
    rows += [
        {**rows[0], "victim": "two_triggers-v", "target": None},
    ]
    counted = clean_only_table(rows).split("\n\n")[1]
    assert "3 of 4 victims with one target have it named" in counted
    assert "0.98 (wanet, bpp, input_aware: 0.9), and at most 0.01 of the clean: 2 of 4" in counted
    assert "patches at least 0.95, BA change at least -0.3: 1 of 1" in counted
    assert "other triggers at least 0.5, BA change at least -0.3: 1 of 3" in counted
    refined = {"0.01": [{**rows[0], **STEP, "kept": 20, "kept_triggered": 1.0}]}
    refused = {"0.01": [{**STEP, "refused": "no trigger"}]}
    streams = [{**rows[0], "refined": refined}, {**rows[2], "refined": refused}]
    counted = refined_table(streams).split("\n\n", 1)[1]
    assert counted.endswith("RA / ceiling of at least 0.95:\n\n- 1 of 2 where 1% are triggered.\n")


def test_bundles_that_are_refined():
    kept = {**STEP, "kept": 20, "kept_triggered": 1.0, "figures": FIGURES}
    refined = {"0.05": [kept, {**STEP, "flagged": 50, "refused": "no trigger"}], "0.01": []}
    rows = [{"victim": "benign-v"}, {"victim": "v", "baseline": BASELINE, "refined": refined}]
    header, _, first, second, none = cells(refined_table(rows))
    assert first[:5] == ["v", "5%", "25 (400)", "0.80", "20: 1.00"]
    assert first[5:] == ["95.0", "90.0 / 0.40", "0.800", "-0.50", "+1.0"]
    assert second == ["v", "5%", "50 (400)", "0.80", "refused", "95.0", "", "", "", ""]
    assert none == ["v", "1%", "fewer than are asked for", *[""] * 7]
    assert len(header) == len(first)


def test_pools():
    mixed = {
        "found": 0.9,
        "found_of_working": 0.99,
        "falsely_flagged": 0.004,
        "split_seconds": 7.0,
        "figures": FIGURES,
    }
    nothing = {"nothing_in_clean_pool": True, "nothing_in_benign_model": False}
    row = {"victim": "v", "method": "m", "baseline": BASELINE, "mixed": mixed, **nothing}
    good = {**mixed, "figures": {**FIGURES, "clean_accuracy": 0.8, "recovered_accuracy": 0.74}}
    refused = {**row, "method": "n", "mixed": {"refused": "none"}}
    table = pool_table([row, {**row, "victim": "w", "mixed": good}, refused])
    header, _, first, second, _ = cells(table)
    assert table.endswith("\n- m: 1 of 2 (0).\n- n: 0 of 1 (0).\n")
    assert first[:5] == ["v", "m", "0.900 / 0.990", "0.0040", "7"]
    assert first[5:] == ["95.0", "90.0 / 0.40", "0.800", "-0.50", "+1.0", "yes / no"]
    assert second == ["v", "n", "none", "", "", "95.0", "", "", "", "", "yes / no"]
    assert len(header) == len(first) == len(second)


def test_where_a_step_refused_the_bundle_before_stays():
    row = {"figures": "first", "refined": {"0.01": [{"refused": "why"}], "0.2": []}}
    assert last_bundle(row, "0.01") == last_bundle(row, "0.2") == row
    second = {"figures": "second"}
    row["refined"]["0.01"] = [second, {"refused": "why"}]
    assert last_bundle(row, "0.01") == second
