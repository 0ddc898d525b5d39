from dataclasses import replace

from tests.directions.comparison.hand_made import given, samples, subject
from tests.directions.comparison.made_summary import summary
from torchserve_fire_build.comparison.text_table import describe, text_table


def test_the_rows_by_hand():
    lines = text_table(summary())
    rows = lines[lines.index("") + 1 :]
    # Wilson's intervals of 24 clean samples and of the 18 triggered ones of other classes.
    assert rows[0].split() == ["BA", "ASR", "RA", "build", "s", "passes", "time"]
    assert " ".join(rows[1].split()) == (
        "ours 100.00 (86.2 to 100.0) 0.00 (0.0 to 17.6) 100.00 (82.4 to 100.0) 1.5 1.00 / 2.00 1.25"
    )
    assert rows[2].endswith("1.00  failed in 1 of 2 draws: 50 % of it, broken")
    assert rows[3] == "blur    not applicable: no images"


def test_it_says_what_was_built_from_what_and_measured_on_what():
    text = "\n".join(describe(summary()))
    assert "trigger of class 0\n" in text
    assert "2 draws of 30 of 40 triggered samples, with their clean partners" in text
    assert "also get all 40 clean ones" in text
    assert "24 clean samples, 18 triggered ones of other classes" in text
    assert "natural rate 0.00 (0.0 to 17.6)" in text
    assert "ceiling of RA 100.00" in text


def test_half_held_out_and_no_pairs_are_said():
    unpaired = replace(given(test=0), triggered=samples(30, 9, triggered=True))
    text = "\n".join(describe(replace(summary(), subject=subject(unpaired), drawn=(15, 11))))
    assert "11 of 15 triggered samples, and 15 clean ones" in text
    assert "half of what was given, held out" in text
    assert "ceiling of RA: not known" in text
