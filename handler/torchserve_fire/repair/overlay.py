"""Finding what a trigger does to the model's input at any place, and undoing it there.

The score of a place is the projection of the input onto the direction moved there: a matched
filter (Turin, "An introduction to matched filters", 1960). All places are scored at once, by the
Fourier transform. Moved parts that leave the map at one side enter it at the other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..format.bundle import Detection
from ..format.correction_forms import Overlay
from .corrections import Projection
from .fill_in import fill_in
from .tracing import surely_none

ROUNDS = 4
"""The most places at which a trigger is undone in one input."""

MAX_GAIN = 1.5
"""The strongest trigger that is undone, in strengths of the calibration samples' trigger."""

GAIN_STEPS = 3
"""How often a wrong gain is corrected by what it leaves."""

GAIN_ERROR = 0.1
"""A gain of 1 is right if no more than this seems to be left of the trigger. Other places at which
the trigger is too seem to leave something here."""

FILLED_ERROR = 0.15
"""The same for a trigger of which all had to be filled in; of one of which a part had to be, as
much less."""

LEAST_LEFT = 0.3
"""Where less than this share of the clean input is left, it is not scaled up again, which would
scale up its rounding: it is filled in from the places around it."""

AT_LIMIT = 0.03
"""How near to the end of its range a value is cut off there, as a share of the range. JPEG moves
what was cut off by about as much."""

CUT_OFF = 0.01
"""How far a trigger must push a value for it to be lost there, as a share of the range."""


def project_anywhere(feature: Tensor, spectrum: Tensor) -> Tensor:
    """Return the projections of each sample's map onto a direction at every place.

    Args:
        feature: (N, C, H, W), any floating dtype.
        spectrum: the conjugate of the direction's real Fourier transform, (C, H, W // 2 + 1).

    Returns:
        (N, H, W) float32: at (y, x), the projection onto the direction moved by y down and x to the
        right.
    """
    if feature.shape[0] == 0:
        # Not every library for Fourier transforms takes no map.
        return torch.zeros(0, *feature.shape[2:], device=feature.device)
    # None of these is an operation that autocast would run in another precision.
    summed = (torch.fft.rfft2(feature.float()) * spectrum).sum(1)
    places: Tensor = torch.fft.irfft2(summed, s=feature.shape[2:])
    return places


class MovingProjection(Projection):
    """Scores samples by their largest projection onto a direction, wherever that is moved.

    Args:
        weight: the direction, (C, H, W) float32.
        threshold: a sample whose score is above it is flagged.
    """

    spectrum: Tensor

    def __init__(self, weight: Tensor, threshold: float) -> None:
        super().__init__(weight, threshold)
        self.register_buffer("spectrum", torch.fft.rfft2(weight.float()).conj().resolve_conj())

    def forward(self, feature: Tensor) -> Tensor:
        """Return the largest projections, (N,) float32, of maps (N, C, H, W)."""
        return self.places(feature).amax((1, 2))

    def places(self, feature: Tensor) -> Tensor:
        """Return the projections at every place, (N, H, W), as `project_anywhere` does."""
        return project_anywhere(feature, self.spectrum)


class Attempt(NamedTuple):
    """What undoing a trigger with some gains leads to.

    Attributes:
        without: the maps, (N, C, H, W) float32.
        filled: which of their values were filled in, (N, C, H, W) bool.
        left: how strong the trigger seems to be still in each channel, (N, C).
    """

    without: Tensor
    filled: Tensor
    left: Tensor


def next_gain(gain: Tensor, attempt: Attempt, wrong: Tensor) -> Tensor:
    """Return the gains to try next, (N, C), where the first ones, of 1, were wrong, (N,) bool."""
    return torch.where(wrong[:, None], gain + attempt.left, gain).clamp(0.0, MAX_GAIN)


class OverlayRemoval(torch.nn.Module):
    """Undoes an overlay at the place where it is found, as strong as it is there.

    The overlay makes t(x) = (1 + s) x + d of a clean input x, cut off at the ends of its range. Its
    slope s and its direction d are moved to where the score is largest. The triggered input is
    x' = x + g (t(x) - x), with a gain g of each channel: 1, or what leaves none of the trigger.
    Where little of x is left in x', it is filled in from around. Then the next place is looked for,
    until no score is above the threshold.

    Args:
        detection: finds the trigger anywhere.
        overlay: what the trigger does there.
    """

    direction: Tensor
    slope: Tensor
    gauges: Tensor
    bases: Tensor
    lower: Tensor
    upper: Tensor

    def __init__(self, detection: Detection, overlay: Overlay) -> None:
        super().__init__()
        self.projection = MovingProjection(detection.weight, detection.threshold)
        for name in ("direction", "slope", "gauges", "lower", "upper"):
            self.register_buffer(name, getattr(overlay, name).float())
        self.register_buffer("bases", torch.tensor(overlay.bases))
        self._strength = float(overlay.strength)

    def forward(self, feature: Tensor) -> Tensor:
        """Return the maps, of the shape (N, C, H, W) and dtype of `feature`, without the trigger.

        Maps in which no trigger is found come back as they are.
        """
        with torch.autocast(feature.device.type, enabled=False):
            whole = feature.float()
            found = torch.ones(whole.shape[0], dtype=torch.bool, device=whole.device)
            for _ in range(ROUNDS):
                place, found = self.find(whole, found)
                if not bool(found.any()):
                    break
                whole = self.undo(whole, place, found)
        return whole.to(feature.dtype)

    def find(self, feature: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the trigger is, (N,) int64, and in which maps it is found, (N,) bool.

        Args:
            feature: maps, (N, C, H, W) float32.
            among: in which of them to look for it, (N,) bool.
        """
        best, place = self.projection.places(feature).flatten(1).max(1)
        return place, among & (best > self.projection.threshold)

    def undo(self, feature: Tensor, place: Tensor, found: Tensor) -> Tensor:
        """Return maps with the trigger undone where it is found, as `find` says; others stay.

        The score alone does not show the gain: what was cut off at the ends of the range is missing
        in it. So gains are tried until they leave nothing.
        """
        gauges = self.gauges_at(place)
        gain = torch.ones(feature.shape[:2], device=feature.device)
        attempt = self.attempt(feature, place, gauges, gain)
        wrong = self.is_wrong(attempt, place, gauges)
        for _ in range(0 if surely_none(wrong) else GAIN_STEPS):
            gain = next_gain(gain, attempt, wrong)
            attempt = self.attempt(feature, place, gauges, gain)
        return torch.where(found.view(-1, 1, 1, 1), attempt.without, feature)

    def gauges_at(self, place: Tensor) -> Tensor:
        """Return the gauges moved to places (N,) int64, (N, C, C, H, W)."""
        return _moved(self.gauges.flatten(0, 1), place).view(-1, *self.gauges.shape)

    def attempt(self, feature: Tensor, place: Tensor, gauges: Tensor, gain: Tensor) -> Attempt:
        """Undo the trigger at a place each, with gains (N, C)."""
        without, filled = self._undo(feature, place, gain[..., None, None])
        left = (gauges * without[:, None]).sum((2, 3, 4)) - self.bases
        return Attempt(without, filled, left)

    def is_wrong(self, first: Attempt, place: Tensor, gauges: Tensor) -> Tensor:
        """Return in which maps a gain of 1 leaves too much of the trigger, (N,) bool."""
        share = (gauges.sum(1) * _moved(self.direction, place)).abs()
        share /= share.sum((1, 2, 3), keepdim=True)
        allowed = GAIN_ERROR + FILLED_ERROR * (share * first.filled).sum((1, 2, 3))
        return first.left.abs().amax(1) > allowed

    def _undo(self, feature: Tensor, place: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the trigger in maps (N, C, H, W) at a place each, (N,) int64.

        Args:
            feature: the maps.
            place: where the trigger is.
            gain: how strong it is, (N, C, 1, 1).

        Returns:
            The maps, and which of their values were filled in, (N, C, H, W) bool.
        """
        slope, direction = _moved(self.slope, place), _moved(self.direction, place)
        gain = self._strength * gain
        clean, lost = _solve(feature, gain, slope, direction)
        span = self.upper - self.lower
        least, most = self.lower.expand_as(clean), self.upper.expand_as(clean)
        stamped = clean + slope * clean + direction
        # A clean value that the trigger pushes further than the end of the range is cut off there.
        above = (stamped >= self.upper - AT_LIMIT * span) & (clean < self.upper - CUT_OFF * span)
        below = (stamped <= self.lower + AT_LIMIT * span) & (clean > self.lower + CUT_OFF * span)
        cut_off = above | below
        covered, hidden = _solve(feature, gain, -1.0, torch.where(above, self.upper, self.lower))
        hidden = (cut_off & hidden) | (~cut_off & lost)
        least = torch.where(above & ~lost, clean - AT_LIMIT * span, least)
        most = torch.where(below & ~lost, clean + AT_LIMIT * span, most)
        clean = torch.where(cut_off, covered, clean).clamp(self.lower, self.upper)
        if surely_none(hidden):
            return clean, hidden
        least, most = (end.clamp(self.lower, self.upper) for end in (least, most))
        return fill_in(clean, hidden, least, most), hidden


def _solve(
    feature: Tensor, gain: Tensor, slope: Tensor | float, direction: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve x' = x + g (s x + d) for x.

    Returns:
        x, and where so little of it is left in x' that it is not known.
    """
    left = 1 + gain * slope
    lost = left.abs() < LEAST_LEFT
    return (feature - gain * direction) / left.masked_fill(lost, 1), lost


def _moved(tensor: Tensor, place: Tensor) -> Tensor:
    """Return a map (C, H, W) moved to the places (N,) int64, indices of (H, W), as (N, C, H, W)."""
    height, width = tensor.shape[1:]
    down, right = place // width, place % width
    rows = (torch.arange(height, device=place.device) - down[:, None]) % height
    columns = (torch.arange(width, device=place.device) - right[:, None]) % width
    return tensor[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)
