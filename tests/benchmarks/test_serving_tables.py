from benchmarks.serving_tables import (
    growth_table,
    load_summary,
    load_table,
    preprocessing_table,
    worker_table,
)

NOISE = {"p50": 1.001, "p99": 0.9, "throughput": 1.0}
REPAIRED = {"p50": 1.0149, "p99": 1.2, "throughput": 0.98}
LOAD = {
    "victim": "net",
    "protocol": "gRPC",
    "batch_size": 8,
    "clients": 32,
    "triggered": 0.01,
    "requests": 500,
    "plain_milliseconds": 12.34,
    "ratios": {"again / plain": NOISE, "repaired / plain": REPAIRED},
}
WORKERS = {
    "victim": "net",
    "layers": ["a (detects)", "b (repairs)"],
    "passes": 2,
    "memory": {"again / plain": 1.0, "repaired / plain": 1.01, "repaired / stock": 0.9},
    "start": {"again / plain": 0.99, "repaired / plain": 1.02},
    "plain_megabytes": 341.6,
    "plain_start_seconds": 4.56,
}


def cells(table):
    lines = table.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in rows}) == 1
    return rows[2:]


def test_a_setting_is_one_line():
    opened = LOAD | {"clients": None, "triggered": 0.0}
    one = LOAD | {"clients": 1, "ratios": {**LOAD["ratios"], "repaired / stock": NOISE}}
    first, second, third = cells(load_table([LOAD, WORKERS, opened, one]))
    assert first == [
        *("net", "gRPC", "8", "32 clients", "1%", "500", "12.3"),
        *("1.001 / 0.900 / 1.000", "1.015 / 1.200 / 0.980", ""),
    ]
    assert second[3:5] == ["open loop", "0%"]
    assert (third[3], third[9]) == ("1 client", "1.001 / 0.900 / 1.000")


def test_settings_of_one_traffic_are_summed_up():
    other = LOAD | {"ratios": {**LOAD["ratios"], "again / plain": NOISE | {"p50": 2.0}}}
    third = LOAD | {"ratios": {**LOAD["ratios"], "again / plain": NOISE | {"p50": 1.2}}}
    clean = LOAD | {"triggered": 0.0}
    rows = cells(load_summary([LOAD, other, third, clean, WORKERS]))
    assert rows[0] == [
        *("net", "1%", "3", "p50"),
        *("1.200 (1.00 to 2.00)", "1.015 (1.01 to 1.01)", "", ""),
    ]
    assert [row[:4] for row in rows[3:]] == [
        ["net", "0%", "1", figure] for figure in ("p50", "p99", "throughput")
    ]


def test_how_often_it_is_chance():
    rows = []
    for i in range(1, 7):
        # All slower, in one direction: 2 of the 64 ways in which six signs can fall.
        repaired = {
            "p50": 1.001 + i / 100,
            "p99": 0.9 + i * (-1) ** i / 100,
            "throughput": 1 - i / 99,
        }
        ratios = {"again / plain": NOISE, "repaired / plain": repaired}
        rows.append(LOAD | {"ratios": ratios})
    p50, p99, throughput = (float(row[-1]) for row in cells(load_summary(rows)))
    assert p50 == throughput == round(2 / 64, 2)
    assert p99 > 0.5
    assert [row[-1] for row in cells(load_summary(rows[:5]))] == ["", "", ""]


def test_what_a_worker_takes():
    assert cells(worker_table([LOAD, WORKERS])) == [
        ["net", "a (detects), b (repairs)", "2", "time to start", "4.6 s", "0.990", "1.020", ""],
        ["net", "a (detects), b (repairs)", "2", "memory", "342 MB", "1.000", "1.010", "0.900"],
    ]


def test_preprocessing():
    row = {"victim": "500 x 375", "batch 1": 0.851, "batch 8": 0.9}
    assert cells(preprocessing_table([row])) == [["500 x 375", "0.85", "0.90"]]


def test_growth():
    row = {"victim": "net", "archive": "plain", "first": 500, "requests": 20000, "growth": 1.0123}
    assert cells(growth_table([row])) == [["net", "plain", "20,000 requests", "500", "1.012"]]


def test_without_results_there_are_no_lines():
    for table in (load_table, worker_table, preprocessing_table, growth_table):
        assert cells(table([])) == []
