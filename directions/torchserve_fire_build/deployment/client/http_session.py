"""Sessions of HTTP with a server: its token, its certificate, and nothing of the environment."""

from __future__ import annotations

from pathlib import Path

import requests

from .certificates import PinnedAdapter, check_authorities

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 120.0


def open_session(
    token: str | None, ca: Path | None = None, *, pinned: str | None = None
) -> requests.Session:
    """Return a session that sends the token, and nothing that the environment would add.

    Args:
        token: the token, None for none.
        ca: PEM file with the certificates of the authorities to trust over https; the public ones
            where None.
        pinned: SHA-256 of the only certificate to take over https; then `ca` is not used.

    Raises:
        FireError: `ca` is no such file.
    """
    session = requests.Session()
    # A proxy or .netrc of the environment must not get the requests, or replace their token.
    session.trust_env = False
    if pinned:
        # It replaces the check of authorities and names, which would refuse a loopback address.
        session.verify = False
        session.mount("https://", PinnedAdapter(pinned))
    elif ca is not None:
        check_authorities(ca)
        session.verify = str(ca)
    if token:
        session.headers["Authorization"] = f"Bearer {token.strip()}"
    return session
