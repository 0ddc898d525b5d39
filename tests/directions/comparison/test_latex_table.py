from tests.directions.comparison.made_summary import summary
from torchserve_fire_build.comparison.latex_table import escaped, latex_table


def test_the_lines_by_hand():
    lines = [line for line in latex_table(summary()).splitlines() if not line.startswith("%")]
    assert lines[0] == r"\begin{tabular}{lrrrrrr}"
    assert lines[4] == (
        r"ours & 100.00 [86.2, 100.0] & 0.00 [0.0, 17.6] & 100.00 [82.4, 100.0] & 1.5 & "
        r"1.00 / 2.00 & 1.25 \\"
    )
    assert lines[5].startswith(r"jpeg\_x & ")
    assert lines[5].endswith(r"\\ % failed in 1 of 2 draws: 50 % of it, broken")
    assert lines[6] == r"blur & \multicolumn{6}{l}{not applicable: no images} \\"
    assert lines[-1] == r"\end{tabular}"


def test_what_latex_reads_otherwise_is_escaped():
    assert escaped("a_b 5% {x} \\ ~^") == (
        r"a\_b 5\% \{x\} \textbackslash{} \textasciitilde{}\textasciicircum{}"
    )
