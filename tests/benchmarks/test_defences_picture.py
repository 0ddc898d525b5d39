import io

from PIL import Image

from benchmarks.defences_picture import draw_defences
from tests.benchmarks.test_victim_tables import result


def picture(*results):
    return Image.open(io.BytesIO(draw_defences(results, "paired 200")))


def test_every_defence_has_a_line():
    ours = result(0.38)
    once, again = picture(ours), picture(ours)
    assert once.tobytes() == again.tobytes()
    other = result(0.1, defence="blur")
    assert picture(ours, other).tobytes() != once.tobytes()
    # Of another evidence, nothing is drawn.
    assert picture(ours, result(0.1, "unpaired 20", "blur")).tobytes() == once.tobytes()
