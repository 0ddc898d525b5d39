import threading
import time

from torchserve_fire.watch.tally import Tally


def test_counts_are_given_away_once_and_together():
    given, done = [], threading.Event()

    def give(counts):
        given.append(dict(counts))
        done.set()

    tally = Tally(give, seconds=2)
    tally.add("judged", 3)
    tally.add("judged", 2)
    tally.add("bad", 1, "empty")
    tally.add("flagged", 0)
    assert done.wait(10)
    assert given == [{("judged", ()): 5, ("bad", ("empty",)): 1}]
    tally.flush()
    assert len(given) == 1
    tally.add("judged")
    tally.flush()
    assert given[1] == {("judged", ()): 1}


def test_totals_go_on():
    tally = Tally(lambda counts: None, seconds=60)
    tally.add("bad", 1, "empty")
    tally.flush()
    tally.add("bad", 2, "empty")
    tally.add("bad", 1, "too large")
    assert tally.total("bad") == 4
    assert tally.by_label("bad") == {"empty": 3, "too large": 1}
    assert tally.total("judged") == 0


def test_nothing_is_lost_between_threads():
    given = []
    tally = Tally(lambda counts: given.append(counts["n", ()]), seconds=0.001)

    def add():
        for _ in range(2000):
            tally.add("n")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.flush()
    deadline = time.monotonic() + 60
    while sum(given) < 8000 and time.monotonic() < deadline:  # A timer's thread may be on its way.
        time.sleep(0.01)
    assert sum(given) == tally.total("n") == 8000
