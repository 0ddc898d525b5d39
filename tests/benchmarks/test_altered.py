from dataclasses import replace

import torch

from benchmarks.altered import alter_evidence, measure_all, measure_prepared
from benchmarks.altered_triggers import ALTERED
from benchmarks.evidence import Evidence
from benchmarks.victims.data import Images
from tests.benchmarks.hand_made import Corner, Victim, attacked, images


def test_every_altered_trigger_is_measured_with_both_bundles():
    clean = images()
    noise = torch.Generator().manual_seed(0)
    pixels = clean.pixels.repeat(10, 1, 1, 1)
    pixels += torch.randint(0, 9, pixels.shape, generator=noise, dtype=torch.uint8)
    row = measure_all(attacked(Images(pixels, clean.labels.repeat(10))))
    assert row["images"] == 80
    assert row["clean"]["attack_success_rate_before"] == 0
    for altered in (row["altered"], row["prepared"]["altered"]):
        assert list(altered) == list(ALTERED)
        assert altered["as it is"]["attack_success_rate_before"] == 1
        assert altered["as it is"]["recovered_accuracy"] > 0.9
        # The net looks at one place, and is not blind to a weaker corner.
        assert altered["at 75 %"]["attack_success_rate_before"] == 1
        assert altered["moved by 1 pixel"]["attack_success_rate_before"] == 0


def test_evidence_is_altered_in_turn_where_the_victim_obeys():
    clean, triggered = images(), images(corner=255)
    altered = alter_evidence(Victim(), Evidence(clean, triggered, paired=True), Corner())
    corners = altered.triggered.pixels[:, 0, 0, 0].tolist()
    # At 25 % and moved, it does not work.
    weaker = [round(40 + share * 215) for share in (0.75, 0.5)]
    assert corners == [255, *weaker, 255, 255, 255, 255, 255]
    white = (altered.triggered.pixels == 255).flatten(1).sum(1).tolist()
    assert white == [3, 0, 0, 3, 3, 3, 3, 12]
    assert altered.paired
    assert torch.equal(altered.clean.pixels, clean.pixels)


def test_why_there_is_no_prepared_bundle():
    clean = images()
    untriggered = replace(attacked(), evidence=Evidence(clean, clean, paired=True))
    assert list(measure_prepared(untriggered)) == ["refused"]
