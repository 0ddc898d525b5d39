"""An address of this machine that is not loopback."""

from __future__ import annotations

import socket

import psutil
import pytest


def other_address() -> str:
    """Return one; a test that asks for it is skipped where there is none."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and not each.address.startswith("127."):
                return str(each.address)
    pytest.skip("this machine has no other address")
