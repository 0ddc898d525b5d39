from benchmarks.screening_table import screening_summary, screening_table


def shares(found, sets=10, not_told=0.0):
    return {"sets": sets, "found": found, "not_told": not_told}


def row(victim, one, ten):
    kinds = {
        "triggered": {"1": shares(one), "10": shares(ten, 30)},
        "same": {"1": shares(0.0)},
        "mixed": {"1": shares(0.1, not_told=0.5)},
        "mistakes": {},
    }
    return {"victim": victim, "draws": 10, "clean": 300, "kinds": kinds}


def test_shares_are_of_all_sets():
    rows = [row("tact-resnet", 0.5, 1.0), row("badnets-resnet", 0.0, 0.5)]
    lines = screening_table(rows).splitlines()
    assert (
        lines[2] == "| badnets-resnet | 0.0 / 50.0 / - | 0.0 / - / - | 10.0 / - / - | - / - / - |"
    )
    assert lines[3].startswith("| tact-resnet* | 50.0 / 100.0 / - |")
    assert lines[4].startswith("| all 2 | 25.0 / 75.0 / - |")
    assert lines[5].startswith("| the 1 that nobody had looked at | 0.0 / 50.0 / - |")
    assert lines[-1].endswith("Of 120 sets of pictures in all, 10 could not be told.")
    assert screening_summary(rows).splitlines()[2:] == lines[4:6]


def test_without_results_the_table_is_empty():
    assert screening_table([]).count("\n") == screening_summary([]).count("\n") == 2
