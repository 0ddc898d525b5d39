from benchmarks.methods_table import methods_table
from tests.benchmarks.test_little_evidence_tables import BASELINE, FIGURES, cells
from torchserve_fire_build.sanitize.methods import SANITIZE_METHODS


def victim(runs):
    return {"victim": "v", "baseline": BASELINE, "runs": runs}


def run(defence="torchserve-fire", evidence="paired 200", seed=0, **others):
    return {"defence": defence, "evidence": evidence, "seed": seed, **others}


def rows_of(*results):
    _, _, *rows = cells(methods_table(*results))
    return {(row[0], row[1].split(" ")[0]): row[2:] for row in rows}


def test_the_mean_the_worst_and_the_time():
    better = {**FIGURES, "recovered_accuracy": 0.75, "clean_accuracy": 0.8}
    victims = [
        victim([run(figures=FIGURES, build_seconds=3), run(seed=1, figures=better)]),
        victim([run(figures={**better, "recovered_accuracy": 9}, build_seconds=5)]),
    ]
    found = rows_of(victims, [], [])[("`build --triggered`", "200")]
    # Ratios .8 and, of one above 1, 1.
    assert found == ["2 (0)", "0.900 (0.800)", "-0.25 (-0.50)", "+1.0 (+1.0)", "4 (5)"]


def test_every_way_to_change_the_weights_has_a_line():
    names = {
        "fine_tuning": "fine-tune",
        "retraining": "retrain",
        "patching": "patch",
        "patching_without_images": "patch",
        "pruning": "prune",
        "fine_pruning": "fine-prune",
        "orthogonalizing": "orthogonalize",
    }
    assert set(names.values()) == set(SANITIZE_METHODS)
    runs = [
        run(name, figures=FIGURES, build_seconds=seconds) for seconds, name in enumerate(names, 1)
    ]
    _, _, *rows = cells(methods_table([victim(runs)], [], []))
    expected = [
        (f"`sanitize --method {method}`", f"{seconds} ({seconds})")
        for seconds, method in enumerate(names.values(), 1)
    ]
    assert [(row[0], row[-1]) for row in rows] == expected


def test_a_victim_that_is_not_repaired_counts_as_it_was():
    baseline = {**BASELINE, "recovered_accuracy": 0.075}
    row = {"method": "m", "baseline": baseline, "mixed": {"refused": "none"}}
    found = rows_of([], [row], [])[("`build --pool --split-by m`", "2,000")]
    assert found == ["1 (1)", "0.100 (0.100)", "+0.00 (+0.00)", "+93.0 (+93.0)", ""]


def test_of_a_stream_the_last_bundle_counts():
    refused = {"flagged": 50, "refused": "none"}
    refined = {"flagged": 25, "figures": {**FIGURES, "recovered_accuracy": 0.75}}
    row = {
        "victim": "v",
        "baseline": BASELINE,
        "version": 5,
        "seconds": 100.0,
        "figures": FIGURES,
        "refined": {"0.01": [refined, refused], "0.05": []},
    }
    _, _, first, one, five = cells(methods_table([], [], [row, {"victim": "of all searches"}]))
    assert (first[0], first[3], first[6]) == (
        "`build --reconstruct all`",
        "0.800 (0.800)",
        "100 (100)",
    )
    assert (one[3], one[6]) == ("1.000 (1.000)", "")
    assert "1% are triggered" in one[1]
    assert five[3] == "0.800 (0.800)"
    assert "5% are triggered" in five[1]
