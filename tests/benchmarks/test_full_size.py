from benchmarks.full_size import full_size_figures, full_size_table


def test_the_table_has_a_row_for_each_kind_of_pass():
    row = {
        "batch": 64,
        "passes": 41.6,
        "memory": 1.504,
        "passes_in_large_batches": 17.2,
        "memory_to_large_batches": 0.75,
    }
    lines = full_size_table([row]).splitlines()
    assert lines[2:] == [
        "| in such batches as the build | 42 | 1.50 |",
        "| in batches of 64 | 17 | 0.75 |",
    ]


def test_what_the_repair_does():
    figures = {
        "counts": [200, 200],
        "clean_accuracy": [0.83, 0.83],
        "attack_success_rate": [1.0, 0.005],
        "natural_rate": [0.005, 0.005],
        "recovered_accuracy": [0.0, 0.8],
        "ceiling": 0.84,
        "flagged": [0.0, 1.0],
        "bundle_to_weights": 0.0123,
    }
    _, _, *lines = full_size_figures([{}, {"figures": figures}]).splitlines()
    assert lines == [
        "| 200 | 83.0 → 83.0 | 100.0 → 0.5 | 0.5 | 0.0 → 80.0 | 84.0 | 0.0 / 100.0 | 0.012 |"
    ]
