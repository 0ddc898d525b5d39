from benchmarks.full_size_inspect import full_size_inspect_table, row_of
from benchmarks.full_size_victim import PATCH
from tests.benchmarks.test_little_evidence_tables import cells

TARGET = PATCH.target


def findings(of_target):
    probabilities = [0.01] * 1000
    probabilities[3] = 0.04
    probabilities[TARGET] = of_target
    found = of_target > 0.9
    scan = {"method": "scan", "probability": max(probabilities), "probabilities": probabilities}
    return {"found": found, "suspects": [TARGET] if found else [], "methods": [scan]}


def test_what_the_command_said():
    row = row_of(findings(0.99), 1799.6, TARGET)
    assert row == {
        "found": True,
        "named": [TARGET],
        "classes": 1000,
        "probability": 0.99,
        "target": TARGET,
        "of_target": 0.99,
        "highest_other": 0.04,
        "seconds": 1800,
    }


def test_the_table():
    rows = [
        {"victim": "victim", **row_of(findings(0.99), 1800, TARGET)},
        {"victim": "benign", **row_of(findings(0.02), 600, TARGET)},
    ]
    _, _, victim, benign = cells(full_size_inspect_table(rows))
    assert victim[2:] == ["backdoored", "7 (7)", "0.990", "0.990 / 0.040", "30"]
    assert benign[2:] == ["nothing found", "none", "0.040", "0.020 / 0.040", "10"]
