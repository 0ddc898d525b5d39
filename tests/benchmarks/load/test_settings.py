import numpy as np
import pytest

from benchmarks.load.settings import BATCH_SIZES, SHARES, Setting, draw_bodies, settings_of


def test_clean_traffic_is_sent_in_every_way_and_triggered_traffic_in_one():
    for batch_size in BATCH_SIZES:
        settings = settings_of(batch_size)
        assert len(set(settings)) == len(settings) == 2 * 4 + 3
        clean = [s for s in settings if not s.share]
        assert {(s.protocol, s.clients) for s in clean} == {
            (protocol, clients) for protocol in ("REST", "gRPC") for clients in (1, 8, 32, None)
        }
        assert tuple(s.share for s in settings if s.share) == SHARES


def test_the_closed_loop_that_says_the_rate_comes_before_the_open_one():
    order = [(s.protocol, s.clients) for s in settings_of(1)]
    for protocol in ("REST", "gRPC"):
        assert order.index((protocol, 8)) < order.index((protocol, None))


@pytest.mark.parametrize(
    ("setting", "block", "rounds"),
    [
        (Setting("REST", 1, 1), 16, 20),
        (Setting("REST", 1, None), 16, 20),
        (Setting("REST", 1, 8), 16, 20),
        (Setting("REST", 1, 32), 64, 5),
        (Setting("REST", 1, 8, 0.01), 100, 5),  # 3 rounds would have no median.
        (Setting("REST", 1, 8, 0.5), 16, 20),
    ],
)
def test_blocks_and_rounds(setting, block, rounds):
    assert setting.block == block
    assert setting.rounds(320) == rounds


@pytest.mark.parametrize(("share", "triggered"), [(0.0, 0), (0.01, 1), (0.5, 8), (1.0, 16)])
def test_each_block_holds_exactly_the_share(share, triggered):
    setting = Setting("REST", 1, 8, share)
    clean, stamped = [b"c0", b"c1"], [b"t0", b"t1"]
    bodies = draw_bodies(clean, stamped, setting, np.random.default_rng(0))
    assert len(bodies) == setting.block
    assert sum(body in stamped for body in bodies) == triggered
    assert bodies == draw_bodies(clean, stamped, setting, np.random.default_rng(0))
