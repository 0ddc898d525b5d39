"""Taking a version of a model out of service, or all of them."""

from __future__ import annotations

from collections.abc import Callable

from torchserve_fire.errors import FireError

from .drain import drain
from .management import Management, ModelVersion


def undeploy(
    management: Management,
    name: str,
    version: str | None,
    report: Callable[[str], None] = print,
    *,
    default: str | None = None,
    every: bool = False,
    now: bool = False,
) -> None:
    """Unregister a version of a model, once it has answered what it received.

    The default version goes only where another one is named that becomes the default, or with all
    of them: the only one is never taken by its name alone. Archives stay in the model store.

    Args:
        management: the server.
        name: the model's name.
        version: to unregister; None with `every`.
        report: called with a line for each step.
        default: the version that becomes the default before.
        every: whether to unregister all versions, the default one last; `version` and `default`
            are None.
        now: whether not to wait: requests that it has not answered are lost.

    Raises:
        FireError: there is no such version, or it may not go; or one is still busy, and is
            registered still.
    """
    served = management.describe(name).version
    registered = {model.version: model for model in management.describe_all(name)}
    listed = ", ".join(f"{v} (the default)" if v == served else v for v in registered)
    for named in (version, default):
        if named is not None and named not in registered:
            raise FireError(
                f"{name} {named}: is not registered, expected one of {listed}; nothing was changed"
            )
    if every:
        leaving = sorted(registered, key=served.__eq__)
    elif len(registered) == 1:
        raise FireError(
            f"{name} {served} is the only version and answers all clients: --all takes the model "
            "out of service; nothing was changed"
        )
    elif version is not None:
        leaving = [version]
    else:
        raise FireError(
            f"--model-name {name}: {len(registered)} versions are registered ({listed}): give "
            "--version with the one to unregister, or --all; nothing was changed"
        )
    if default in leaving:
        raise FireError(
            f"--default {default}: is the version to unregister, expected another one of {listed}; "
            "nothing was changed"
        )
    if not every and served in leaving and default is None:
        raise FireError(
            f"--version {served}: is the default, which requests that name no version get: give "
            f"--default with the one that takes its place (registered: {listed}), or --all; "
            "nothing was changed"
        )
    if default is not None and default != served:
        management.set_default(name, default)
        report(f"{name} {default} is the default now")
    for each in leaving:
        _unregister(management, registered[each], report, now=now)
    if every:
        report(f"nothing is served as {name} any more: its requests get status 404")


def _unregister(
    management: Management, model: ModelVersion, report: Callable[[str], None], *, now: bool
) -> None:
    # A version whose workers cannot load answers nothing that could be waited for.
    if not now and any(model.workers.values()):
        report(f"waiting until {model.name} {model.version} has answered what it received")
        try:
            drain(management, model, timeout=2 * model.response_timeout + 30, report=report)
        except FireError as error:
            raise FireError(
                f"{error}; {model.name} {model.version} is still registered: run the same command "
                "again, or with --now, which loses what it has not answered"
            ) from error
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"{model.name} {model.version} is still registered") from error
    management.unregister(model.name, model.version)
    report(f"{model.name} {model.version} is unregistered; its archive stays in the model store")
