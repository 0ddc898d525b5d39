from benchmarks.archives.table import archives_table, requests_table

BEFORE = {
    "clean_accuracy": 0.81,
    "attack_success_rate": 1.0,
    "recovered_accuracy": 0.0,
    "clean_partners": 0.8,
    "natural_rate": 0.021,
}
AFTER = {**BEFORE, "attack_success_rate": 0.02, "recovered_accuracy": 0.79}
ROW = {
    "victim": "own handler",
    "commands": ["repair", "deploy"],
    "requests": 1234,
    "failed": 1,
    "wrong": 2,
    "answered plain": 1000,
    "answered repaired": 233,
    "same form": True,
    "test": 500,
    "before": BEFORE,
    "after": AFTER,
}


def last_line(table):
    return [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]


def test_requests():
    expected = ["own handler", "2: repair, deploy", "1,234", "1", "2", "1,000 / 233", "the same"]
    assert last_line(requests_table([ROW])) == expected
    assert last_line(requests_table([{**ROW, "same form": False}]))[-1] == "**changed**"


def test_figures():
    assert last_line(archives_table([ROW])) == [
        "own handler",
        "500",
        "81.0 → 81.0",
        "100.0 → 2.0",
        "2.1 → 2.1",
        "0.0 → 79.0",
        "0.988 of 80.0",
    ]
