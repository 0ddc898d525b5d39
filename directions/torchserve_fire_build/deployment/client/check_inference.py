"""Whether the inference API of a server is where a command expects it."""

from __future__ import annotations

from pathlib import Path

import requests

from torchserve_fire.errors import FireError

from .http_session import ANSWER_SECONDS, CONNECT_SECONDS, open_session
from .server_errors import unanswered
from .tokens import Token, current


def check_inference(url: str, token: Token, ca: Path | None = None) -> None:
    """Refuse an address at which nobody answers, by a question that changes nothing.

    Whatever is answered will do: TorchServe is unhealthy while a model's workers fail, which
    another version may mend, and a proxy before it may pass on predictions alone.

    Args:
        url: the address.
        token: the inference token, None where the server asks for none.
        ca: certificates of the authorities to trust over https; the public ones where None.

    Raises:
        FireError: nothing answers there.
    """
    where = f"{url.rstrip('/')}/ping"
    with open_session(current(token), ca) as session:
        try:
            session.get(where, timeout=(CONNECT_SECONDS, ANSWER_SECONDS))
        except requests.RequestException as error:
            raise FireError(
                f"GET {where}: no answer ({unanswered(error)}); nothing was changed"
            ) from None
