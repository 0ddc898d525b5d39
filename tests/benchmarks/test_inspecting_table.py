from benchmarks.inspecting_table import inspecting_table


def run(method, suspects, index, found=None):
    return {
        "method": method,
        "found": bool(suspects) if found is None else found,
        "suspects": suspects,
        "index": index,
        "seconds": 2.4,
    }


def row(victim, target, runs, suspects, *, found=None, backdoored=True):
    return {
        "victim": victim,
        "backdoored": backdoored,
        "target": target,
        "found": bool(suspects) if found is None else found,
        "suspects": suspects,
        "methods": runs,
    }


def test_verdicts_and_how_many_are_right():
    silent = {"method": "b", "found": None, "suspects": [], "index": None, "seconds": 1.0}
    rows = [
        row("benign-v", None, [run("a", [], [0.1, 1.26]), silent], [], backdoored=False),
        row("wanet-v", 0, [run("a", [0, 2], [5.04, 4.5]), run("b", [1], [0.0, 2.6])], [0, 2, 1]),
        row("sig-v", 1, [run("a", [0], [4.2, 0.3]), silent], [0]),
        row("two-v", None, [run("a", [1], [0.2, 9.0]), silent], [1]),
    ]
    table, _, counts = inspecting_table(rows).partition("\n- ")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0] == ["model", "target", "verdict", "a", "b", "seconds"]
    assert lines[2:6] == [
        ["sig-v", "1", "0", "0 (4.2)", "could not tell", "3"],
        ["two-v", "several", "1", "1 (9.0)", "could not tell", "3"],
        ["wanet-v", "0", "0, 2, 1", "0, 2 (5.0)", "1 (2.6)", "5"],
        ["benign-v", "none", "none", "none (1.3)", "could not tell", "3"],
    ]

    def counted(name, found, first, clear):
        return (
            f"{name}: {found} of 3 victims are found out. The target is the first suspect in "
            f"{first} of the 2 with one. Nothing is found in {clear} of 1 benign models."
        )

    assert counts.splitlines() == [
        counted("All together", 3, 1, 1),
        counted("- `a`", 3, 1, 1),
        counted("- `b`", 1, 0, 0),
    ]


def test_methods_are_told_apart_by_name_whatever_their_order():
    rows = [
        row("sig-v", 0, [run("a", [0], [5.0, 0.0]), run("b", [], [0.0, 0.1])], [0]),
        row("wanet-v", 0, [run("b", [], [0.2, 0.0]), run("c", [], [0.0, 0.3])], []),
    ]
    table, _, counts = inspecting_table(rows).partition("\n- ")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0][3:-1] == ["a", "b", "c"]
    assert [line[3:-1] for line in lines[2:4]] == [
        ["0 (5.0)", "none (0.1)", ""],
        ["", "none (0.2)", "none (0.3)"],
    ]
    assert "`a`: 1 of 1 victims" in counts
    assert "`b`: 0 of 2 victims" in counts


def test_nothing_was_measured_yet():
    assert len(inspecting_table([]).splitlines()) == 2
