import asyncio

import numpy as np
import pytest

from benchmarks.load.loops import Answered, closed_loop, open_loop, poisson_moments


class Server:
    """Answers in the order in which the test lets it, and counts what waits."""

    def __init__(self):
        self.received, self.waiting, self.most = [], 0, 0

    async def answer(self, body):
        self.received.append(body)
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        for _ in range(3):
            await asyncio.sleep(0)
        self.waiting -= 1


def test_each_client_of_a_closed_loop_waits_for_its_answer():
    server = Server()
    bodies = [bytes([i]) for i in range(20)]
    answered = asyncio.run(closed_loop(server.answer, bodies, 4))
    assert server.received == bodies
    assert server.most == 4
    assert len(answered.latencies) == 20
    assert all(0 < latency <= answered.seconds for latency in answered.latencies)


def test_an_open_loop_does_not_wait():
    server = Server()
    answered = asyncio.run(open_loop(server.answer, [b""] * 6, [0.0] * 6))
    assert server.most == 6
    assert len(answered.latencies) == 6


def test_an_open_loop_sends_at_the_moments_and_counts_from_them():
    sent = []

    async def answer(body):
        sent.append((body, asyncio.get_running_loop().time()))

    bodies, moments = [b"first", b"second"], [0.0, 0.1]
    answered = asyncio.run(open_loop(answer, bodies, moments))
    assert [body for body, _ in sent] == bodies
    assert sent[1][1] - sent[0][1] > 0.05
    assert answered.seconds >= 0.1


def test_a_latency_counts_from_the_moment_that_was_meant():
    async def answer(body):
        return None

    # Meant for a second before the start: it has waited that long when it is sent.
    answered = asyncio.run(open_loop(answer, [b""], [-1.0]))
    assert answered.latencies[0] > 1


@pytest.mark.parametrize("loop", [lambda s: closed_loop(s, [b""] * 9, 3), None])
def test_a_failed_request_fails_the_loop(loop):
    async def fail(body):
        raise ValueError("no answer")

    run = loop or (lambda s: open_loop(s, [b""], [0.0]))
    with pytest.raises(ValueError, match="no answer"):
        asyncio.run(run(fail))


def test_arrivals_are_those_of_a_poisson_process_and_come_again_with_the_seed():
    moments = poisson_moments(4000, 50.0, np.random.default_rng(0))
    assert moments == poisson_moments(4000, 50.0, np.random.default_rng(0))
    gaps = np.diff([0.0, *moments])
    assert (gaps > 0).all()
    # Exponential: mean and spread are the same.
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.05)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.1)


def test_throughput_is_answers_in_a_second():
    assert Answered([0.1] * 6, 3.0).throughput == 2
