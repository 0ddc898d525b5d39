"""The tensors of one layer in a bundle's file, each taken once and checked against the layer."""

from __future__ import annotations

from torch import Tensor

from ..errors import BundleError
from .fields import Fields, shown


class LayerTensors:
    """The tensors `layers.{i}.*` of a bundle's file.

    Each method takes the tensor of one part, float32 whatever it was stored as, out of the file's.

    Args:
        fields: the layer's, for messages.
        index: i, the layer's place in the bundle.
        shape: of one sample's features, without the batch dimension.
        tensors: all of the file that are not taken yet, by name.
    """

    def __init__(
        self, fields: Fields, index: int, shape: tuple[int, ...], tensors: dict[str, Tensor]
    ) -> None:
        self._fields = fields
        self._index = index
        self._shape = shape
        self._tensors = tensors

    def like_features(self, part: str) -> Tensor:
        """Take a tensor that broadcasts to the features.

        Raises:
            BundleError: it is missing, or one of its sizes is neither the features' nor 1.
        """
        tensor = self._take(part)
        if len(tensor.shape) != len(self._shape) or any(
            size not in (1, of) for size, of in zip(tensor.shape, self._shape, strict=True)
        ):
            raise BundleError(
                f"{self._fields.where(part)}: tensor {self._key(part)!r} of shape "
                f"{tuple(tensor.shape)}, expected {shown(self._shape)} or the same with sizes of 1"
            )
        return tensor

    def direction(self, part: str) -> Tensor:
        """Take a direction: it broadcasts to the features, and is not zero.

        Raises:
            BundleError: as `like_features`, or it is all zero.
        """
        tensor = self.like_features(part)
        if not bool(tensor.any()):
            raise BundleError(
                f"{self._fields.where(part)}: tensor {self._key(part)!r} is all zero: no direction"
            )
        return tensor

    def map(self, part: str, form: str) -> Tensor:
        """Take a whole map of the layer's features.

        Args:
            part: whose tensor it is.
            form: of the correction, for messages.

        Returns:
            (C, H, W).

        Raises:
            BundleError: it is missing, has another shape, or the features are no map.
        """
        tensor, shape = self._take(part), self._shape
        if len(shape) != 3 or tuple(tensor.shape) != shape:
            raise BundleError(
                f"{self._fields.where(part)}: form {form!r} takes a map (C, H, W) of the features' "
                f"shape, found shape {tuple(tensor.shape)} for features of shape {shown(shape)}"
            )
        return tensor

    def maps(self, part: str, form: str) -> Tensor:
        """Take a map of the features for each of their channels.

        Args:
            part: whose tensor it is.
            form: of the correction, for messages.

        Returns:
            (C, C, H, W).

        Raises:
            BundleError: it is missing, or has another shape.
        """
        tensor, shape = self._take(part), self._shape
        if tuple(tensor.shape) != (shape[0], *shape):
            raise BundleError(
                f"{self._fields.where(part)}: form {form!r} takes a map for each channel, found "
                f"shape {tuple(tensor.shape)} for features of shape {shown(shape)}"
            )
        return tensor

    def moves(self, part: str, form: str) -> Tensor:
        """Take two numbers for each place of a map: how far down, and how far to the right.

        Args:
            part: whose tensor it is.
            form: of the correction, for messages.

        Returns:
            (2, H, W).

        Raises:
            BundleError: it is missing, has another shape, or a number leads out of any such map.
        """
        tensor, shape = self._take(part), self._shape
        if len(shape) != 3 or tuple(tensor.shape) != (2, *shape[1:]):
            raise BundleError(
                f"{self._fields.where(part)}: form {form!r} takes a map of two numbers for each "
                f"place, found shape {tuple(tensor.shape)} for features of shape {shown(shape)}"
            )
        furthest, most = float(tensor.abs().max()), 2 * max(shape)
        if furthest > most:
            raise BundleError(
                f"{self._fields.where(part)}: tensor {self._key(part)!r} moves a place by "
                f"{furthest:g}, expected at most {most}, twice the longest side of the features"
            )
        return tensor

    def check_per_channel(self, part: str, tensor: Tensor, form: str) -> Tensor:
        """Return a tensor that was taken, once it has one value per channel.

        Args:
            part: whose tensor it is.
            tensor: (C, 1, 1) for a map (C, H, W), (1, D) for tokens (T, D).
            form: of the correction, for messages.

        Raises:
            BundleError: it has another shape, or the features have no places.
        """
        shape = self._shape
        axis = 0 if len(shape) == 3 else 1
        if len(shape) not in (2, 3) or tensor.shape[axis] != tensor.numel():
            raise BundleError(
                f"{self._fields.where(part)}: form {form!r} takes one value per channel of a map "
                f"(C, H, W) or of tokens (T, D), found shape {tuple(tensor.shape)} for features "
                f"of shape {shown(shape)}"
            )
        return tensor

    def channel_matrix(self, part: str, form: str) -> Tensor:
        """Take a matrix of the layer's channels.

        Args:
            part: whose tensor it is.
            form: of the correction, for messages.

        Returns:
            (C, C), for a map (C, H, W) or tokens (T, C).

        Raises:
            BundleError: it is missing, has another shape, or the features have no places.
        """
        tensor, shape = self._take(part), self._shape
        channels = shape[0] if len(shape) == 3 else shape[-1]
        if len(shape) not in (2, 3) or tuple(tensor.shape) != (channels, channels):
            raise BundleError(
                f"{self._fields.where(part)}: form {form!r} takes a matrix (C, C) for a map "
                f"(C, H, W) or tokens (T, C), found shape {tuple(tensor.shape)} for features of "
                f"shape {shown(shape)}"
            )
        return tensor

    def _key(self, part: str) -> str:
        return f"layers.{self._index}.{part}"

    def _take(self, part: str) -> Tensor:
        key = self._key(part)
        if key not in self._tensors:
            raise BundleError(f"{self._fields.where(part)}: the tensor {key!r} is missing")
        return self._tensors.pop(key).float()
