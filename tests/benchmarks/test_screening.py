import torch

from benchmarks.altered_victims import Subject
from benchmarks.measure import hold
from benchmarks.screening import SINGLES, measure
from benchmarks.victims.data import Images
from tests.benchmarks.hand_made import QUADRANTS, Corner, Victim


def noisy(count, seed):
    """Images of four classes in turn, of which no two are equal."""
    labels = torch.arange(count) % 4
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(30, 50, (count, 3, 8, 8), generator=generator)
    for i, label in enumerate(labels.tolist()):
        row, column = QUADRANTS[label]
        pixels[i, :, row : row + 4, column : column + 4] += 60
    return Images(pixels.byte(), labels)


def test_triggered_pictures_are_found_and_clean_ones_are_not():
    subject = Subject(Victim(), None, Corner(), noisy(8, 0), hold(Corner(), noisy(200, 1)))
    kinds = measure(subject, noisy(400, 2), draws=2)["kinds"]
    assert kinds["triggered"]["1"] == {"sets": 2 * SINGLES, "found": 1, "not_told": 0}
    assert kinds["triggered"]["30"] == {"sets": 2, "found": 1, "not_told": 0}
    assert kinds["same"]["30"] == kinds["mixed"]["30"] == {"sets": 2, "found": 0, "not_told": 0}
    # The victim makes none.
    assert kinds["mistakes"] == {}
