"""Modules that score a layer's features, or move them: one for each form of a correction.

A direction has as many dimensions as the features of a sample, and each size is the features' or
1, so that it broadcasts: (C, H, W) for a whole conv map, (C, 1, 1) for a channel vector, (T, D) or
(1, D) for tokens, (D,) for vectors.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from ..format.correction_forms import Affine, Clamp, Correction, Local, Shift

WINDOW = 5
"""Side of the square around a place from which a local replacement takes its value, in places."""


def project(feature: Tensor, weight: Tensor) -> Tensor:
    """Return the inner product of each sample's features with `weight`.

    Args:
        feature: (N, *S), any floating dtype.
        weight: (*S) or broadcastable to it, float32.

    Returns:
        (N,), float32.
    """
    # Accumulating in float32 keeps a half-precision model's scores usable, under autocast too. On a
    # CPU, autocast leaves these products alone.
    if not feature.is_cpu and torch.is_autocast_enabled(feature.device.type):
        with torch.autocast(feature.device.type, enabled=False):
            return project(feature, weight)
    if weight.shape == feature.shape[1:]:
        if feature.dim() == 4 and feature.is_contiguous(memory_format=torch.channels_last):
            # It is cheaper to reorder one weight than a batch of features.
            feature, weight = feature.permute(0, 2, 3, 1), weight.permute(1, 2, 0)
        return torch.mv(feature.flatten(1).float(), weight.flatten())
    return (feature.float() * weight).flatten(1).sum(1)


class Projection(nn.Module):
    """Scores samples by their projection onto a direction (FIRE, arXiv 2602.10780).

    Args:
        weight: direction to project on, (*S) or broadcastable to it, float32.
        threshold: a sample whose projection is above it is flagged.
    """

    weight: Tensor
    threshold: Tensor

    def __init__(self, weight: Tensor, threshold: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight.float())
        self.register_buffer("threshold", torch.tensor(threshold))
        # The same as a Python number, read once.
        self._limit = float(self.threshold)

    def forward(self, feature: Tensor) -> Tensor:
        """Return the projections, (N,), float32, of features (N, *S)."""
        return project(feature, self.weight)

    def flags(self, scores: Tensor) -> Tensor:
        """Return which of the scores (N,) are flagged, (N,) bool.

        A score that is not finite is flagged, since it does not show the sample to be clean.
        """
        return (scores > self.threshold) | ~scores.isfinite()

    def surely_flags_none(self, scores: Tensor) -> bool:
        """Return whether none of the scores (N,) is flagged, with few operations.

        False, too, of scores on a GPU: to look at them, the pass would have to wait until they are
        there. It costs less to go on as if some were flagged.
        """
        return scores.is_cpu and all(-math.inf < score <= self._limit for score in scores.tolist())


class TokenProjection(Projection):
    """Scores a text by the largest projection among its own tokens.

    Args:
        weight: direction to project on, (1, C), float32.
        threshold: a text of which a token's projection is above it is flagged.
    """

    def among(self, feature: Tensor, own: Tensor) -> Tensor:
        """Return the scores, (N,) float32, of tokens (N, T, C).

        Args:
            feature: the tokens.
            own: which are the texts' own, (N, T) bool. A text without any has the score -inf.
        """
        return largest_projection(feature, self.weight, own)


def largest_projection(feature: Tensor, weight: Tensor, own: Tensor) -> Tensor:
    """Return the largest inner product of a sample's own tokens with `weight`, (N,) float32.

    Args:
        feature: (N, T, C), any floating dtype.
        weight: (1, C), float32.
        own: (N, T) bool.
    """
    with torch.autocast(feature.device.type, enabled=False):
        projected = (feature.float() * weight).sum(2)
    return projected.masked_fill(~own, -math.inf).amax(1)


class MeanShift(nn.Module):
    """h' = h - strength * d: takes the trigger's mean shift back from every sample alike.

    Args:
        direction: d, the mean of triggered minus clean features, (*S) or broadcastable to it.
        strength: multiple of d that is subtracted; 0 changes nothing.
    """

    offset: Tensor

    def __init__(self, direction: Tensor, strength: float) -> None:
        super().__init__()
        self.register_buffer("offset", direction.float() * strength)

    def forward(self, feature: Tensor) -> Tensor:
        """Return the moved features, of the shape (N, *S) and dtype of `feature`."""
        return feature - self.offset.to(feature.dtype)


def mix_channels(feature: Tensor, slope: Tensor) -> Tensor:
    """Return `slope` times the channels at each place.

    Args:
        feature: maps (N, C, H, W) or tokens (N, T, C).
        slope: (C, C), of the same dtype.
    """
    if feature.dim() == 4:
        return torch.nn.functional.conv2d(feature, slope[:, :, None, None])
    return feature @ slope.T


class AffineTransport(nn.Module):
    """h'(p) = h(p) - strength * (d(p) + M h(p)): takes back a shift that depends on the features.

    A place p is a pixel of a conv map (N, C, H, W), or a token of (N, T, C), and h(p) its channels.
    With M = 0 it is the mean shift. M makes the shift depend on the features that the trigger left.

    Args:
        direction: d, (*S) or broadcastable to it.
        strength: share of the predicted shift that is taken back; 0 changes nothing.
        slope: M, (C, C).
    """

    offset: Tensor
    slope: Tensor

    def __init__(self, direction: Tensor, strength: float, slope: Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", direction.float() * strength)
        self.register_buffer("slope", slope.float() * strength)

    def forward(self, feature: Tensor) -> Tensor:
        """Return the moved features, of the shape (N, *S) and dtype of `feature`."""
        with torch.autocast(feature.device.type, enabled=False):
            shift = self.offset + mix_channels(feature.float(), self.slope)
        return feature - shift.to(feature.dtype)


class OneSidedClamp(nn.Module):
    """Moves samples that project too far along d back to where clean ones lie.

    With u = d/|d| and s = <h, u>: where s exceeds the threshold,
    h' = h - strength * (s - anchor) u; elsewhere h' = h exactly. It clips one side, as activation
    clipping does (arXiv 2308.04617), but along a direction in place of single activations.

    Args:
        direction: d, (*S) or broadcastable to it; not all zero.
        strength: share of the way back to the anchor; 0 changes nothing.
        threshold: upper end of the clean range of s.
        anchor: the clean median of s.
    """

    direction: Tensor
    threshold: Tensor
    anchor: Tensor
    strength: Tensor

    def __init__(self, direction: Tensor, strength: float, threshold: float, anchor: float) -> None:
        super().__init__()
        # Scaled, because the squares of very small or large values leave the range of float32.
        self.register_buffer("direction", direction.float() / direction.float().abs().max())
        self.register_buffer("threshold", torch.tensor(threshold))
        self.register_buffer("anchor", torch.tensor(anchor))
        self.register_buffer("strength", torch.tensor(strength))

    def forward(self, feature: Tensor) -> Tensor:
        """Return the moved features, of the shape (N, *S) and dtype of `feature`."""
        spread = self.direction.expand(feature.shape[1:])
        unit = spread / torch.linalg.vector_norm(spread)
        score = project(feature, unit)
        excess = self.strength * (score - self.anchor)
        shape = (-1,) + (1,) * (feature.dim() - 1)
        moved = feature - (excess.view(shape) * unit).to(feature.dtype)
        return torch.where((score > self.threshold).view(shape), moved, feature)


class LocalReplacement(nn.Module):
    """Replaces the features of the places at which a trigger shows: for triggers that move about.

    A place is a pixel (h, w) of a conv map (N, C, H, W), or a token t of (N, T, D). With the
    channels h(p) there and s(p) = <h(p), w>: where s(p) exceeds the threshold,
    h'(p) = h(p) + strength * (r(p) - h(p)); elsewhere h' = h exactly. On a map, r(p) is the mean of
    those places around p, in a square of `WINDOW`, at which the trigger does not show. Where it
    shows at all of these, and among tokens, r(p) is the mean clean channels.

    Args:
        direction: w, (C, 1, 1) or (1, D).
        strength: share of the way to r(p); 0 changes nothing.
        threshold: upper end of the clean range of s.
        replacement: the mean clean channels, (C, 1, 1) or (1, D).
    """

    direction: Tensor
    replacement: Tensor
    threshold: Tensor
    strength: Tensor

    def __init__(
        self, direction: Tensor, strength: float, threshold: float, replacement: Tensor
    ) -> None:
        super().__init__()
        self.register_buffer("direction", direction.float())
        self.register_buffer("replacement", replacement.float())
        self.register_buffer("threshold", torch.tensor(threshold))
        self.register_buffer("strength", torch.tensor(strength))

    def forward(self, feature: Tensor) -> Tensor:
        """Return the features, of the shape (N, *S) and dtype of `feature`, with some replaced."""
        channels = 1 if feature.dim() == 4 else 2
        with torch.autocast(feature.device.type, enabled=False):
            whole = feature.float()
            shows = (whole * self.direction).sum(channels, keepdim=True) > self.threshold
            replacement = self.replacement
            if feature.dim() == 4:
                replacement = self._around(whole, shows)
            moved = feature + (self.strength * (replacement - whole)).to(feature.dtype)
        return torch.where(shows, moved, feature)

    def _around(self, feature: Tensor, shows: Tensor) -> Tensor:
        """Return, for each place, the mean of those around it where nothing shows, (N, C, H, W)."""
        mean = partial(
            torch.nn.functional.avg_pool2d, kernel_size=WINDOW, stride=1, padding=WINDOW // 2
        )
        kept, share = mean(feature.masked_fill(shows, 0)), mean((~shows).float())
        # The least share that is not 0 is one place of the window.
        return torch.where(share > 0.5 / WINDOW**2, kept / share, self.replacement)


def build_correction(correction: Correction) -> nn.Module:
    """Return the module that a correction's form becomes, on the device of its tensors.

    Those that act on the model's input become an `overlay.OverlayRemoval` or an `unwarp.Unwarp`.
    """
    if isinstance(correction, Shift):
        return MeanShift(correction.direction, correction.strength)
    if isinstance(correction, Affine):
        return AffineTransport(correction.direction, correction.strength, correction.slope)
    if isinstance(correction, Clamp):
        return OneSidedClamp(
            correction.direction, correction.strength, correction.threshold, correction.anchor
        )
    if isinstance(correction, Local):
        return LocalReplacement(
            correction.direction, correction.strength, correction.threshold, correction.replacement
        )
    raise TypeError(f"form {correction.form!r} acts on the model's input")
