import os
import signal
import time

import pytest

from benchmarks.load.command import ended_in_one_line
from torchserve_fire.errors import FireError


@pytest.fixture(autouse=True)
def handlers():
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in stops}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(block):
    with ended_in_one_line("name"):
        block()


def test_a_failure_is_one_line():
    def fail():
        raise FireError("it broke")

    with pytest.raises(SystemExit) as caught:
        run(fail)
    assert caught.value.code == "name: it broke"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_servers_end(number):
    ended = []

    def serve():
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        finally:
            ended.append(True)

    with pytest.raises(SystemExit) as caught:
        run(serve)
    assert caught.value.code == "name: interrupted"
    assert ended
