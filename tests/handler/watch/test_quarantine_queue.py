import threading
from functools import partial

import pytest
import torch

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import QuarantineConfig
from torchserve_fire.model.preprocess import read_body
from torchserve_fire.watch.quarantine import Quarantine
from torchserve_fire.watch.quarantine_queue import WAITING, QuarantineQueue

IMAGES = InputDescription("image", (3, 2, 2), (0.0,) * 3, (1.0,) * 3)


def grey_image(level):
    return torch.full((3, 2, 2), level / 255)


@pytest.fixture
def queue(tmp_path):
    return QuarantineQueue(Quarantine(QuarantineConfig(tmp_path), "m", IMAGES))


def test_what_comes_while_too_many_wait_is_not_kept(queue, tmp_path):
    go_on = threading.Event()
    queue._keeper.submit(go_on.wait)
    for level in range(WAITING + 10):
        queue.put(partial(grey_image, level))
    go_on.set()
    queue.finish()
    queue.prune()  # Nothing happens any more.
    assert len(list((tmp_path / "m").iterdir())) == WAITING


def test_what_cannot_be_read_or_kept_makes_place_for_others(queue, tmp_path, monkeypatch, caplog):
    for _ in range(2 * WAITING):
        queue.put(partial(read_body, b"no image", IMAGES))
        queue._keeper.submit(lambda: None).result()
    with monkeypatch.context() as broken:
        broken.setattr(queue._quarantine, "keep", lambda sample: 1 / 0)
        for _ in range(WAITING):
            queue.put(partial(grey_image, 0))
        queue._keeper.submit(lambda: None).result()
    assert "could not be kept" in caplog.text
    queue.put(partial(grey_image, 1))
    queue.finish()
    assert len(list((tmp_path / "m").iterdir())) == 1
