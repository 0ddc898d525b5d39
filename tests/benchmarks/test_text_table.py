from benchmarks.text_table import text_table


def row(evidence: str, recovered: float) -> dict[str, object]:
    names = ("BA before", "BA", "ASR before", "ASR", "natural", "flagged clean")
    of_all = dict.fromkeys((*names, "accuracy beside nothing"), 0.5)
    return {"trigger": "word", "evidence": evidence, "RA": recovered, "ceiling": 0.8, **of_all}


def test_draws_are_averaged_and_a_missed_bar_is_bold():
    rows = [row("unpaired 20", 0.76), row("paired 100", 0.8), row("paired 100", 0.72)]
    _, _, *lines = text_table(rows).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [line[1:3] for line in cells] == [["paired 100", "2"], ["unpaired 20", "1"]]
    assert cells[0][3:6] == ["50.0 → 50.0", "50.0 → 50.0", "50.0"]
    assert cells[0][6:11] == ["76.0", "80.0", "**0.950**", "0.900", "0.98"]
    assert cells[1][6:11] == ["76.0", "80.0", "0.950", "0.950", "0.93"]
