"""Lines of this package go where Ray Serve's own go."""

from __future__ import annotations

import logging

import pytest

from torchserve_fire.serve.ray_serve.log_to_ray import OURS, RAYS, log_to_ray


def test_lines_go_to_ray_serves_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours, rays = logging.getLogger(OURS), logging.getLogger(RAYS)
    for name, value in (("handlers", []), ("level", 0), ("propagate", True)):
        monkeypatch.setattr(ours, name, value)
    monkeypatch.setattr(rays, "handlers", [caplog.handler])
    monkeypatch.setattr(rays, "propagate", False)
    log_to_ray()
    logging.getLogger(f"{OURS}.core").info("served %s", "net")
    assert [record.getMessage() for record in caplog.records] == ["served net"]
