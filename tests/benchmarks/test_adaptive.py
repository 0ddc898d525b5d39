import torch

from benchmarks.adaptive import (
    RADII,
    alter_evidence,
    measure,
    measure_attackers,
    measure_prepared,
)
from benchmarks.altered_triggers import ALTERED
from benchmarks.evidence import Evidence
from benchmarks.measure import hold
from benchmarks.victims.attacks.attack import Attack, Stamped, to_target
from benchmarks.victims.data import Images
from tests.benchmarks.hand_made import Victim, bundle, images

MODEL = Victim()


class Corner(Attack):
    """A white pixel in the top left corner."""

    def stamp(self, images, labels, generator):
        images = images.clone()
        images[:, :, 0, 0] = 1
        return Stamped(images, to_target(labels))


def test_figures_by_hand():
    # Flagged and repaired; obeyed, but not flagged; not obeyed.
    pixels = torch.cat([images(corner=c).pixels[:2] for c in (255, 180, 100)])
    shown = Images(pixels, images().labels[[0, 1, 0, 1, 0, 1]])
    found = measure(MODEL, bundle(), shown, torch.zeros(6, dtype=torch.int64))
    assert {name: round(6 * value) for name, value in found.items()} == {
        "attack_success_rate_before": 4,
        "attack_success_rate": 2,
        "attack_success_rate_rejecting": 2,
        "recovered_accuracy_before": 2,
        "recovered_accuracy": 4,
        "flagged": 2,
    }


def test_every_attacker_is_measured_with_the_trigger_and_without():
    row = measure_attackers(MODEL, bundle(), Corner(), hold(Corner(), images()), "tiny")
    assert row["images"] == 8
    assert row["clean"]["attack_success_rate_before"] == 0
    assert list(row["altered"]) == list(ALTERED)
    assert row["altered"]["as it is"]["attack_success_rate_before"] == 1
    assert row["altered"]["as it is"]["recovered_accuracy"] == 1
    # It is above the threshold of 191 where it is obeyed.
    assert row["altered"]["at 75 %"]["flagged"] == 1
    assert row["altered"]["moved by 1 pixel"]["attack_success_rate_before"] == 0
    assert list(row["adversarial"]) == [str(radius) for radius in RADII]
    for aim in ("unflagged", "repaired"):
        for radius in RADII:
            pair = row["perturbed"][aim][str(radius)]
            assert pair["with_trigger"]["attack_success_rate_before"] == 1
            assert pair["with_trigger"]["attack_success_rate"] == 0
            assert pair["without_trigger"]["attack_success_rate_before"] == 0


def test_evidence_is_altered_in_turn_where_the_victim_obeys():
    clean, triggered = images(), images(corner=255)
    altered = alter_evidence(MODEL, Evidence(clean, triggered, paired=True), Corner())
    corners = altered.triggered.pixels[:, 0, 0, 0].tolist()
    # At 25 % and moved, it does not work.
    weaker = [round(40 + share * 215) for share in (0.75, 0.5)]
    assert corners == [255, *weaker, 255, 255, 255, 255, 255]
    white = (altered.triggered.pixels == 255).flatten(1).sum(1).tolist()
    assert white == [3, 0, 0, 3, 3, 3, 3, 12]
    assert altered.paired
    assert torch.equal(altered.clean.pixels, clean.pixels)


def test_why_there_is_no_bundle_of_altered_triggers():
    clean = images()
    refused = measure_prepared(MODEL, Evidence(clean, clean, paired=True), Corner(), None)
    assert list(refused) == ["refused"]


def test_a_bundle_of_altered_triggers_is_measured_on_them():
    clean = images()
    many = Images(clean.pixels.repeat(10, 1, 1, 1), clean.labels.repeat(10))
    noise = torch.randint(0, 9, many.pixels.shape, generator=torch.Generator().manual_seed(0))
    many = Images(many.pixels + noise.byte(), many.labels)
    held = hold(Corner(), many)
    found = measure_prepared(MODEL, Evidence(many, held.triggered, paired=True), Corner(), held)
    assert list(found["altered"]) == list(ALTERED)
    assert found["altered"]["as it is"]["recovered_accuracy"] > 0.9
