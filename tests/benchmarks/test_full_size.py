from benchmarks.full_size import full_size_table


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
