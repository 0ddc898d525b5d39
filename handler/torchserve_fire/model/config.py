"""The settings under `handler:` in TorchServe's `model-config.yaml`.

Both the commands and the server read them here, so that calibration sees what the server will see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError, SignatureError
from ..format.bundle import INPUTS, InputDescription
from ..format.ed25519 import parse_public_key
from ..format.fields import Fields, shown
from ..format.resizing import SQUASHED, Resizing
from ..format.table import Table, read_column_name, read_table
from .image_size import read_image_size
from .own_settings import with_own_settings

OWN_HANDLER = "handler"
"""The kind of input where a handler of the user's own prepares it, in a way of its own."""

SETTINGS_FILE = "repair-config.yaml"
"""The settings in an archive whose own configuration stays as it is; their form is the same."""

MODES = ("repair", "observe", "reject", "off")


@dataclass(frozen=True)
class QuarantineConfig:
    """Where to keep flagged inputs, and how many.

    Attributes:
        folder: an absolute path; each model has a folder of its name below it.
        max_megabytes: what all files of a model may take; where it is exceeded, the oldest are
            deleted. Several workers may exceed it a little, since each counts now and then.
        max_days: after how many days a file is deleted.
    """

    folder: Path
    max_megabytes: float = 100.0
    max_days: float = 30.0


@dataclass(frozen=True)
class HandlerConfig:
    """The settings under `handler:`.

    Attributes:
        input: "image", "tensor", "integers" or "table"; or "handler", where the archive's own
            handler prepares inputs, and the bundle alone says what the model takes.
        image_size: (height, width) that the model takes; (0, 0) for tensors.
        resizing: how images of other sizes are brought to it.
        mean: subtracted per channel from images in [0, 1]; one value for a greyscale model.
        std: divided by per channel, after the mean was subtracted.
        topk: number of classes in an answer.
        model_class: name of the class in the model file; None where only one fits the weights.
        mode: "repair" repairs flagged inputs, "observe" flags and changes nothing, "reject"
            refuses flagged inputs, "off" serves the model as it is.
        allow_other_weights: whether a bundle built for other weights may be used.
        flag_in_body: whether the answer's body says what was flagged.
        quarantine: where flagged inputs are kept; None: nowhere.
        trusted_keys: public keys, one of which must have signed the archive. Empty: it need not be
            signed.
        integers_below: for `input: integers`, the integers that the model takes are 0 up to one
            below this, and other requests are refused. None: any integers.
        example: file of the archive with the body of a request, on which the corrections are
            proved. None: zeros of the input's shape, which not every model takes.
        bundle_folder: a folder whose newest bundle takes the place of the archive's while it is
            served. None: there is none.
        table: the columns of a table, and how each is prepared; None for other inputs.
        label_column: the column of a table of samples with each row's class; None: it has none.
        id_column: that with what each row is called, by which pairs are found; None: it has none.
    """

    input: str
    image_size: tuple[int, int] = (0, 0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    topk: int = 5
    model_class: str | None = None
    mode: str = "repair"
    allow_other_weights: bool = False
    flag_in_body: bool = False
    quarantine: QuarantineConfig | None = None
    trusted_keys: tuple[str, ...] = ()
    integers_below: int | None = None
    example: str | None = None
    resizing: Resizing = SQUASHED
    bundle_folder: Path | None = None
    table: Table | None = None
    label_column: str | None = None
    id_column: str | None = None

    @property
    def columns_beside(self) -> tuple[str, ...]:
        """Columns that a table's rows may have, and that the model does not take."""
        return tuple(name for name in (self.label_column, self.id_column) if name is not None)

    def describe_input(self, tensor_shape: tuple[int, ...] | None = None) -> InputDescription:
        """Return what the model takes.

        Args:
            tensor_shape: shape of one sample of a model whose input is no image; calibration
                reads it from the samples, the server from the bundle.

        Raises:
            ConfigError: the input is no image and no shape is given, or the handler alone knows.
        """
        if self.input == OWN_HANDLER:
            raise ConfigError(
                f"handler: input: {OWN_HANDLER}: what the model takes is known to the archive's "
                "handler alone, expected --archive in place of the model's files"
            )
        if self.input == "image":
            shape = (len(self.mean), *self.image_size)
            return InputDescription("image", shape, self.mean, self.std, self.resizing)
        if self.table is not None:
            return InputDescription("table", (self.table.width,), table=self.table)
        if tensor_shape is None:
            raise ConfigError(f"handler: input: {self.input}: the shape of a sample is not known")
        return InputDescription(self.input, tensor_shape)


def load_config(path: Path | str, own: Mapping[str, Any] | None = None) -> HandlerConfig:
    """Read the settings from a `model-config.yaml`.

    Args:
        path: the file.
        own: settings that come with the model, for what the file does not say.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds an unknown or wrong setting.
    """
    path = Path(path)
    values = read_settings(path)
    return parse_config(with_own_settings(values, own or {}), str(path))


def read_settings(path: Path) -> dict[str, Any]:
    """Return what stands in a `model-config.yaml`.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds no map.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file, expected a model-config.yaml") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        said = (_at(error.context, error.context_mark), _at(error.problem, error.problem_mark))
        raise ConfigError(f"{path}: not a YAML file: {', '.join(filter(None, said))}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not a YAML file: {reason}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a map with a 'handler' section")
    return values


def _at(what: str | None, mark: yaml.Mark | None) -> str:
    line = "" if mark is None else f" (line {mark.line + 1})"
    return "" if what is None else what + line


def parse_config(values: Mapping[str, Any], source: str = "model-config.yaml") -> HandlerConfig:
    """Check the settings in the contents of a `model-config.yaml`.

    Args:
        values: the whole file; everything outside `handler` is TorchServe's own.
        source: the file's name, for messages.

    Raises:
        ConfigError: a setting is unknown, missing, or has a wrong value.
    """
    fields = Fields(values, source, ConfigError).fields("handler")
    kind = fields.choice("input", (*INPUTS, OWN_HANDLER))
    settings: dict[str, Any] = {"input": kind}
    if kind == "image":
        size, resizing = read_image_size(fields)
        mean, std = fields.numbers("mean"), fields.numbers("std")
        if len(mean) not in (1, 3) or len(std) != len(mean):
            raise ConfigError(
                f"{fields.where('mean')}: {len(mean)} values and {len(std)} of std, expected 3 of "
                "each (RGB) or 1 of each (greyscale)"
            )
        if min(std) <= 0:
            raise ConfigError(f"{fields.where('std')}: {std}, expected values above 0")
        settings |= {"image_size": size, "resizing": resizing}
        settings |= {"mean": tuple(mean), "std": tuple(std)}
    if kind == "table":
        settings |= _parse_table(fields)
    if kind == "integers" and fields.has("integers_below"):
        settings["integers_below"] = fields.integer("integers_below", minimum=1)
    if fields.has("topk"):
        settings["topk"] = fields.integer("topk", minimum=1)
    for name in ("model_class", "example"):
        if fields.has(name):
            settings[name] = fields.text(name)
    if "/" in settings.get("example", ""):
        raise ConfigError(
            f"{fields.where('example')}: {settings['example']}, expected the name of a file at the "
            "top of the archive"
        )
    if fields.has("mode"):
        if fields.peek("mode") is False:  # YAML reads a bare `off` as false.
            fields.raw("mode")
            settings["mode"] = "off"
        else:
            settings["mode"] = fields.choice("mode", MODES)
    for name in ("allow_other_weights", "flag_in_body"):
        if fields.has(name):
            settings[name] = fields.boolean(name)
    if fields.has("quarantine"):
        settings["quarantine"] = _parse_quarantine(fields.fields("quarantine"))
    if fields.has("bundle_folder"):
        settings["bundle_folder"] = _absolute_folder(fields, "bundle_folder")
    if fields.has("trusted_keys"):
        where = fields.where("trusted_keys")
        settings["trusted_keys"] = public_keys(fields.raw("trusted_keys"), where)
    fields.finish()
    return HandlerConfig(**settings)


def _parse_table(fields: Fields) -> dict[str, Any]:
    settings: dict[str, Any] = {"table": (table := read_table(fields))}
    for name in ("label_column", "id_column"):
        if fields.has(name):
            column = read_column_name(fields, name)
            if column in table.by_name or column in settings.values():
                fields.refuse(name, column, "a column of its own, that the model does not take")
            settings[name] = column
    return settings


def _parse_quarantine(fields: Fields) -> QuarantineConfig:
    folder = _absolute_folder(fields, "folder")
    settings = {}
    for name in ("max_megabytes", "max_days"):
        if fields.has(name):
            settings[name] = fields.number(name)
            if settings[name] <= 0:
                raise ConfigError(f"{fields.where(name)}: {settings[name]:g}, expected more than 0")
    fields.finish()
    return QuarantineConfig(folder, **settings)


def _absolute_folder(fields: Fields, name: str) -> Path:
    folder = Path(fields.text(name))
    if not folder.is_absolute():
        raise ConfigError(
            f"{fields.where(name)}: {str(folder)!r}, expected an absolute path: a worker's own "
            "folder is temporary"
        )
    return folder


def public_keys(values: Any, where: str) -> tuple[str, ...]:
    """Return public keys, each checked.

    Args:
        values: a list, or a tuple, of one or more.
        where: what they are called in messages.

    Raises:
        ConfigError: they are no such list, or one of them is no key.
    """
    # An empty list would trust nobody, or everybody, depending on who reads it.
    if not isinstance(values, (list, tuple)) or not values:
        raise ConfigError(f"{where}: {shown(values)}, expected a list of public keys")
    try:
        return tuple(parse_public_key(value, where) for value in values)
    except SignatureError as error:
        raise ConfigError(str(error)) from None
