import os
import subprocess
import sys

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.common.ray_workers import ray_workers


def test_a_cluster_has_workers_of_its_own(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(FireError, match=r"--workers 2: .* RAY_ADDRESS"), ray_workers(2):
        pass


LISTENING = """
import os
import psutil
from torchserve_fire_build.common.ray_workers import ray_workers

def niceness(more):
    return os.nice(more)

with ray_workers(1) as workers:
    # Without the extra niceness that Ray gives its workers.
    assert list(workers.map(niceness, [0])) == [(0, os.nice(0))]
    me = psutil.Process()
    ours = {p.pid for p in me.children(recursive=True)} | {me.pid}
    for found in psutil.net_connections("inet"):
        if found.pid in ours and found.status == "LISTEN":
            print(found.laddr.ip)
"""


@pytest.mark.slow
def test_it_listens_on_loopback_alone_and_leaves_no_token(tmp_path):
    home = {**os.environ, "HOME": str(tmp_path)}
    said = subprocess.check_output([sys.executable, "-c", LISTENING], text=True, env=home)
    assert set(said.split()) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert said
    assert not (tmp_path / ".ray").exists()
