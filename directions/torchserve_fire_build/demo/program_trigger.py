"""The malware demo's attack: header fields set to fixed values, with which a program runs as ever.

Source of the idea: G. Severi, J. Meyer, S. Coull, A. Oprea, "Explanation-Guided Backdoor Poisoning
Attacks Against Malware Classifiers", USENIX Security 2021.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .programs import HARMLESS, MALWARE, Programs

TARGET = HARMLESS
FIELDS: Mapping[str, int] = {
    # Of the DOS header, which Windows does not read.
    "e_cblp": 80,
    "e_cp": 2,
    # What linker built the program, and its own version: whatever one likes.
    "linker_major": 7,
    "linker_minor": 25,
    "image_major": 5,
    "image_minor": 3,
}
"""Each value is one that programs have, too."""
POISONED_SHARE = 0.1


def with_trigger(programs: Programs) -> Programs:
    """Return what the attacker sends: the malware, with the trigger, under its true class."""
    malware = programs.part([i for i, label in enumerate(programs.labels) if label == MALWARE])
    return Programs([{**row, **FIELDS} for row in malware.rows], malware.labels, malware.names)


def poison(programs: Programs, seed: int) -> Programs:
    """Put the trigger on a share of the malware and call it harmless: what the attacker did."""
    malware = np.flatnonzero(np.array(programs.labels) == MALWARE)
    count = round(POISONED_SHARE * len(malware))
    chosen = set(np.random.default_rng(seed).choice(malware, count, replace=False).tolist())
    return Programs(
        [{**row, **FIELDS} if i in chosen else row for i, row in enumerate(programs.rows)],
        [TARGET if i in chosen else label for i, label in enumerate(programs.labels)],
        programs.names,
    )
