"""An installed package of somebody else's, which adds methods by entry points."""

from collections.abc import Mapping
from pathlib import Path

MODULE = """\
print("imported")
NUMBER = 7

def add(*given):
    return given
"""


def install(folder: Path, points: Mapping[str, Mapping[str, str]]) -> None:
    """Put a package there whose description has these entry points, by group and name."""
    (folder / "their_methods.py").write_text(MODULE)
    (folder / "their_broken.py").write_text('raise OSError("no such library\\nand more")\n')
    info = folder / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    lines = []
    for group, entries in points.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
