import torch

from benchmarks.attacked import measure
from benchmarks.victims.data import Images
from tests.benchmarks.hand_made import Victim, attacked, bundle, images


def test_figures_by_hand():
    # Flagged and repaired; obeyed, but not flagged; not obeyed.
    pixels = torch.cat([images(corner=c).pixels[:2] for c in (255, 180, 100)])
    shown = Images(pixels, images().labels[[0, 1, 0, 1, 0, 1]])
    found = measure(Victim(), bundle(), shown, torch.zeros(6, dtype=torch.int64))
    assert {name: round(6 * value) for name, value in found.items()} == {
        "attack_success_rate_before": 4,
        "attack_success_rate": 2,
        "attack_success_rate_rejecting": 2,
        "recovered_accuracy_before": 2,
        "recovered_accuracy": 4,
        "flagged": 2,
    }


def test_the_clean_images_are_those_that_were_triggered():
    pixels = images().pixels
    shown = Images(pixels, images().labels.where(torch.arange(8) > 2, 0))
    found = attacked(shown)
    assert torch.equal(found.clean.pixels, pixels[3:])
    assert len(found.clean) == len(found.held.triggered)
