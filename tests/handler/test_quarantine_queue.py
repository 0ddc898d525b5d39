import threading

import pytest

from handler.bundle import InputDescription
from handler.config import QuarantineConfig
from handler.quarantine import Quarantine
from handler.quarantine_queue import WAITING, QuarantineQueue

from .archive import grey

IMAGES = InputDescription("image", (3, 2, 2), (0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def queue(tmp_path):
    return QuarantineQueue(Quarantine(QuarantineConfig(tmp_path), "m", IMAGES))


def test_what_comes_while_too_many_wait_is_not_kept(queue, tmp_path):
    go_on = threading.Event()
    queue._keeper.submit(go_on.wait)
    for level in range(WAITING + 10):
        queue.put(grey(level))
    go_on.set()
    queue.finish()
    assert len(list((tmp_path / "m").iterdir())) == WAITING


def test_what_cannot_be_read_or_kept_makes_place_for_others(queue, tmp_path, monkeypatch, caplog):
    for _ in range(2 * WAITING):
        queue.put(b"no image")
        queue._keeper.submit(lambda: None).result()
    with monkeypatch.context() as broken:
        broken.setattr(queue._quarantine, "keep", lambda sample: 1 / 0)
        for _ in range(WAITING):
            queue.put(grey(0))
        queue._keeper.submit(lambda: None).result()
    assert "could not be kept" in caplog.text
    queue.put(grey(1))
    queue.finish()
    assert len(list((tmp_path / "m").iterdir())) == 1
