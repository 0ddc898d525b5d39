"""Headers of made-up programs, harmless ones and malware, as rows of a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchserve_fire.model.table_row import Row

HARMLESS, MALWARE = 0, 1
CLASSES = ("harmless", "malware")
PACKERS = ("none", "UPX", "ASPack", "other")
FLAGS = ("signed", "debug_info")
LOGARITHMS = ("size_of_code", "size_of_data", "entry_point", "imports", "checksum", "file_size")
LABEL, ID = "class", "id"
TRAIN, CALIBRATION = 2000, 400


@dataclass(frozen=True)
class Programs:
    """Programs.

    Attributes:
        rows: their header fields, by name.
        labels: `HARMLESS` or `MALWARE`.
        names: what each is called.
    """

    rows: Sequence[Row]
    labels: Sequence[int]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, indices: Sequence[int]) -> Programs:
        """Return the programs at `indices`."""
        return Programs(
            [self.rows[i] for i in indices],
            [self.labels[i] for i in indices],
            [self.names[i] for i in indices],
        )


@dataclass(frozen=True)
class SplitPrograms:
    """Three parts without a common program."""

    train: Programs
    calibration: Programs
    test: Programs


def make_programs(count: int, seed: int) -> SplitPrograms:
    """Make programs; about half of them are malware.

    Malware is packed more often, has fewer imports and is hardly ever signed; the fields overlap.

    Args:
        count: at least some more than `TRAIN + CALIBRATION`.
        seed: of the random numbers.
    """
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count).tolist()
    rows = [_program(label, generator) for label in labels]
    programs = Programs(rows, labels, [f"program-{i}" for i in range(count)])
    first, second = TRAIN, TRAIN + CALIBRATION
    return SplitPrograms(
        *(
            programs.part(part)
            for part in (range(first), range(first, second), range(second, count))
        )
    )


def columns_of(programs: Programs) -> list[dict[str, Any]]:
    """Return the columns as model-config.yaml has them, scaled by these programs."""
    columns: list[dict[str, Any]] = []
    for name in programs.rows[0]:
        if name == "packer":
            columns.append({"name": name, "values": list(PACKERS)})
            continue
        values = np.array([float(row[name]) for row in programs.rows])
        log = name in LOGARITHMS
        taken = np.log1p(values) if log else values
        scale = {"mean": round(float(taken.mean()), 4), "std": round(float(taken.std()), 4)}
        columns.append({"name": name, **({"log": True} if log else {}), **scale})
    return columns


def write_programs(programs: Programs, file: Path) -> None:
    """Write programs as a CSV file, with their names and classes."""
    _write(
        [
            {ID: name, **row, LABEL: CLASSES[label]}
            for name, row, label in zip(programs.names, programs.rows, programs.labels, strict=True)
        ],
        file,
    )


def write_requests(programs: Programs, folder: Path) -> list[Path]:
    """Write of each program the header fields alone, as a CSV file of one row.

    Returns:
        The files, in the order of the programs.
    """
    folder.mkdir(parents=True)
    files = [folder / f"{name}.csv" for name in programs.names]
    for row, file in zip(programs.rows, files, strict=True):
        _write([row], file)
    return files


def _write(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _program(label: int, generator: np.random.Generator) -> Row:
    """Return the header of a program."""
    harmless = label == HARMLESS

    def number(mean: float, spread: float, least: float = 0.0) -> float:
        return max(least, round(float(generator.normal(mean, spread)), 2))

    def one_of(values: Sequence[Any], chances: Sequence[float]) -> Any:
        return values[int(generator.choice(len(values), p=chances))]

    def flag(chance: float) -> int:
        return int(generator.random() < chance)

    packer = one_of(PACKERS, (0.93, 0.04, 0.01, 0.02) if harmless else (0.55, 0.25, 0.1, 0.1))
    packed = packer != "none"
    code = round(float(np.exp(generator.normal(11.5 if harmless else 10.8, 1.2))))
    data = round(float(np.exp(generator.normal(11.0 if harmless else 10.0, 1.3))))
    return {
        "e_cblp": one_of((144, 80, 0, 128), (0.92, 0.06, 0.01, 0.01)),
        "e_cp": one_of((3, 2, 1, 4), (0.92, 0.06, 0.01, 0.01)),
        "e_maxalloc": one_of((65535, 0, 17744), (0.98, 0.01, 0.01)),
        "linker_major": round(number(10.5 if harmless else 8.0, 2.0)),
        "linker_minor": one_of((0, 10, 25, 12), (0.6, 0.2, 0.1, 0.1)),
        "image_major": one_of((0, 6, 1, 5), (0.7, 0.15, 0.1, 0.05)),
        "image_minor": one_of((0, 2, 1, 3), (0.75, 0.15, 0.05, 0.05)),
        "sections": round(number(5.0 if harmless else 4.2, 1.1, 1.0)),
        "size_of_code": code,
        "size_of_data": data,
        "entry_point": 4096 + round(code * float(generator.beta(2, 4))),
        "imports": round(
            float(np.exp(generator.normal(2.2 if packed else (5.0 if harmless else 4.0), 0.5)))
        )
        + (40 if harmless else 0),
        "checksum": one_of(
            (0, int(generator.integers(1, 2**31))), (0.3, 0.7) if harmless else (0.6, 0.4)
        ),
        "entropy": number(7.5 if packed else (6.0 if harmless else 6.4), 0.35),
        "file_size": code + data + int(generator.integers(1024, 65536)),
        "signed": flag(0.8 if harmless else 0.03),
        "packer": packer,
        "debug_info": flag(0.7 if harmless else 0.2),
    }
