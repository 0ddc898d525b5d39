"""In which ways requests are sent: what is measured, and what is left out.

Clean traffic is sent in every way: by 1, 8 and 32 clients in a closed loop and in an open loop,
over both protocols, at both batch sizes. Triggered traffic is sent by 8 clients over REST, at both
batch sizes: what a repair costs depends on how many of a batch are flagged, not on who asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BATCH_SIZES = (1, 8)
PROTOCOLS = ("REST", "gRPC")
CLIENTS = (1, 8, 32)
REFERENCE_CLIENTS = 8
SHARES = (0.01, 0.5, 1.0)
LOAD = 0.5
"""Of an open loop: its rate, of what the plain archive answers to 8 clients in a closed loop."""

LEAST_BLOCK = 16
LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Setting:
    """One way to send requests.

    Attributes:
        protocol: "REST" or "gRPC".
        batch_size: requests that a worker may take at once.
        clients: how many there are in a closed loop; None: an open loop.
        share: of the requests, how many are triggered.
    """

    protocol: str
    batch_size: int
    clients: int | None
    share: float = 0.0

    @property
    def block(self) -> int:
        """How many requests one archive gets before it is the next one's turn."""
        of_each = LEAST_BLOCK if self.clients is None else max(LEAST_BLOCK, 2 * self.clients)
        return max(of_each, round(1 / self.share)) if self.share else of_each

    def rounds(self, requests: int) -> int:
        """How many blocks each archive gets, for about so many requests to each."""
        return max(LEAST_ROUNDS, requests // self.block)

    def __str__(self) -> str:
        loop = "open loop" if self.clients is None else f"{self.clients} clients"
        return f"{self.protocol}, batch size {self.batch_size}, {loop}, {self.share:.0%} triggered"


def settings_of(batch_size: int) -> list[Setting]:
    """Return the settings of a batch size; a closed loop before the open one that is set by it."""
    clean = [
        Setting(protocol, batch_size, clients)
        for protocol in PROTOCOLS
        for clients in (*CLIENTS, None)
    ]
    return clean + [Setting("REST", batch_size, REFERENCE_CLIENTS, share) for share in SHARES]


def draw_bodies(
    clean: list[bytes], triggered: list[bytes], setting: Setting, generator: np.random.Generator
) -> list[bytes]:
    """Draw the bodies of one block, of which exactly the setting's share is triggered."""
    count = round(setting.share * setting.block)
    flags = generator.permutation(np.arange(setting.block) < count)
    picks = generator.integers(len(clean), size=setting.block)
    return [(triggered if flag else clean)[pick] for flag, pick in zip(flags, picks, strict=True)]
