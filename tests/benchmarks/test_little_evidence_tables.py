from benchmarks.little_evidence_tables import clean_only_table, pool_table, refined_table

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
BUNDLE = {"tells": "late", "repairs": ["early"]}


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_clean_images_alone():
    victim = {"victim": "v", "baseline": BASELINE, "target": 0, "named": [0], "seconds": 9.6}
    several = {"bytes": 9, "targets": {"0": BUNDLE, "1": {"tells": "last", "repairs": ["mid"]}}}
    rows = [
        {"victim": "benign-v", "named": [], "seconds": 3.0},
        {**victim, "bundle": BUNDLE, "figures": FIGURES},
        {**victim, "victim": "u", "target": None, "named": [0, 1], "bundle": several},
        {**victim, "victim": "w", "named": [3], "refused": "no layer"},
    ]
    header, _, *found = cells(clean_only_table(rows))
    assert found == [
        ["u", "0, 1 (several)", "10", "95.0", "", "", "", "", "late, early; last, mid"],
        ["v", "0 (0)", "10", "95.0", "90.0 / 0.40", "0.800", "-0.50", "+1.0", "late, early"],
        ["w", "3 (0)", "10", "95.0", "", "", "", "", "no layer"],
        ["benign-v", "none", "3", *[""] * 6],
    ]
    assert {len(row) for row in found} == {len(header)} == {9}


def test_bundles_that_are_refined():
    step = {"flagged": 25, "requests": 400, "triggered": 0.8}
    kept = {**step, "kept": 20, "kept_triggered": 1.0, "figures": FIGURES}
    refined = {"0.05": [kept, {**step, "flagged": 50, "refused": "no trigger"}]}
    rows = [{"victim": "benign-v"}, {"victim": "v", "baseline": BASELINE, "refined": refined}]
    header, _, first, second = cells(refined_table(rows))
    assert first[:5] == ["v", "5%", "25 (400)", "0.80", "20: 1.00"]
    assert first[5:] == ["95.0", "90.0 / 0.40", "0.800", "-0.50", "+1.0"]
    assert second == ["v", "5%", "50 (400)", "0.80", "no trigger", "95.0", "", "", "", ""]
    assert len(header) == len(first)


def test_pools():
    mixed = {
        "found": 0.9,
        "found_of_working": 0.99,
        "falsely_flagged": 0.004,
        "split_seconds": 7.0,
        "figures": FIGURES,
    }
    row = {"victim": "v", "method": "m", "baseline": BASELINE, "mixed": mixed}
    told = {"clean_pool_told": True, "benign_model_told": False}
    refused = {**row, **told, "method": "n", "mixed": {"refused": "none"}}
    header, _, first, second = cells(pool_table([{**row, **told}, refused]))
    assert first[:5] == ["v", "m", "0.900 / 0.990", "0.0040", "7"]
    assert first[5:] == ["95.0", "90.0 / 0.40", "0.800", "-0.50", "+1.0", "yes / no"]
    assert second == ["v", "n", "none", "", "", "95.0", "", "", "", "", "yes / no"]
    assert len(header) == len(first) == len(second)
