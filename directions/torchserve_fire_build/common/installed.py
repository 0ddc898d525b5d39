"""Which version of a package is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str) -> str:
    """Return the version in the metadata of an installation.

    Args:
        package: the name that pip installs it by.

    Returns:
        The version; "(not installed)" if only the folders of a checkout are on the path.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
