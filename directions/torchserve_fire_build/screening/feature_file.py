"""Features of many samples in a temporary file: memory need not hold them all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..common.progress import Progress
from ..common.row_file import RowFile
from ..samples.samples import Samples
from .features import Features, features_by_batch


@dataclass(frozen=True)
class FeatureFile:
    """The features of N samples, each channel averaged over its places.

    Attributes:
        file: with a row for each sample that was read, the features of all layers side by side.
        widths: layer to its number of channels, in the order of the row.
        rows: the rows of these samples, rising, (N,) int64.
        predicted: the class that the model calls each sample, (N,) int64.
        digests: SHA-256 of each sample as the model takes it, in hexadecimal digits.
    """

    file: RowFile
    widths: Mapping[str, int]
    rows: Tensor
    predicted: Tensor
    digests: Sequence[str]

    @classmethod
    def written(cls, parts: Iterable[tuple[int, Features]], progress: Progress) -> FeatureFile:
        """Write features to a new file.

        Args:
            parts: features at the same layers, each with the place of its first sample; in any
                order, without gaps.
            progress: advanced by the number of samples.

        Raises:
            OutputError: the disk has no room for them.
        """
        file, called, digests = RowFile(), RowFile(), RowFile()
        widths: dict[str, int] = {}
        # What is small lies in files, too: pieces of it would keep the memory of large ones apart.
        for start, part in parts:
            widths = {layer: features.shape[1] for layer, features in part.layers.items()}
            file.write(start, torch.cat(list(part.layers.values()), 1))
            called.write(start, part.predicted[:, None])
            hashed = bytearray.fromhex("".join(part.digests))
            digests.write(start, torch.frombuffer(hashed, dtype=torch.float32).view(len(part), -1))
            progress.advance(len(part))
        count = len(file)
        return cls(
            file,
            widths,
            torch.arange(count),
            called.between(0, count)[:, 0].long(),
            [row.tobytes().hex() for row in digests.between(0, count).numpy()],
        )

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def layers(self) -> Sequence[str]:
        """The layers, in their order."""
        return list(self.widths)

    def only(self, indices: Tensor) -> FeatureFile:
        """Return those of the samples at `indices`, rising, (n,) int64, in the same file."""
        return replace(
            self,
            rows=self.rows[indices],
            predicted=self.predicted[indices],
            digests=[self.digests[i] for i in indices.tolist()],
        )

    def at(self, indices: Tensor) -> Features:
        """Return those of the samples at `indices`, rising, (n,) int64, in memory."""
        wanted = torch.zeros(len(self.file), dtype=torch.bool)
        wanted[self.rows[indices]] = True
        return self._features(self.file[wanted], indices)

    def blocks(self) -> Iterator[tuple[Tensor, Features]]:
        """Yield all of them block by block, each with the indices of its samples, (n,) int64."""
        done = 0
        for start, block in self.file.blocks():
            end = int(torch.searchsorted(self.rows, start + len(block)))
            if end > done:
                indices = torch.arange(done, end)
                yield indices, self._features(block[self.rows[indices] - start], indices)
            done = end

    def _features(self, rows: Tensor, indices: Tensor) -> Features:
        """Return rows of the file as features of the samples at `indices`."""
        layers = dict(
            zip(self.widths, torch.split(rows, list(self.widths.values()), 1), strict=True)
        )
        digests = [self.digests[i] for i in indices.tolist()]
        return Features(layers, self.predicted[indices], digests)


def read_feature_file(
    model: nn.Module, samples: Samples, layers: Sequence[str], progress: Progress
) -> FeatureFile:
    """Do as `features.read_features`, and keep the features in a file.

    Raises:
        OutputError: the disk has no room for them.
        FireError: as `features.features_by_batch`.
    """

    def parts() -> Iterator[tuple[int, Features]]:
        done = 0
        for part in features_by_batch(model, samples, layers):
            yield done, part
            done += len(part)

    return FeatureFile.written(parts(), progress)
