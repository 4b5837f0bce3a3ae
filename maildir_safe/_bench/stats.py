"""Medians with their spread, percentiles, and whether two sets of measurements differ at all."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

_RESAMPLES = 2000


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the sorted values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p99, p99.9 and the maximum, under their names in reports."""
    if not values:
        return {}
    return {
        "p50": percentile(values, 0.5),
        "p99": percentile(values, 0.99),
        "p99.9": percentile(values, 0.999),
        "max": max(values),
    }


def spread(values: Sequence[float]) -> float:
    """Return half the distance between the least and the greatest value, as a share of the median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0


def ratio_interval(
    before: Sequence[float], after: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """Return the ratio of two medians and its 95 % interval by bootstrap: (ratio, low, high)."""
    chance = random.Random(seed)
    ratios = sorted(
        statistics.median(chance.choices(after, k=len(after)))
        / statistics.median(chance.choices(before, k=len(before)))
        for _ in range(_RESAMPLES)
    )
    middle = statistics.median(after) / statistics.median(before)
    return middle, ratios[int(0.025 * _RESAMPLES)], ratios[int(0.975 * _RESAMPLES)]


def verdict(before: Sequence[float], after: Sequence[float]) -> str:
    """``"faster"``, ``"slower"`` or ``"no significant difference"``, never more than the rounds show.

    With fewer than five rounds a side the bootstrap's interval is too narrow to be believed.
    """
    if min(len(before), len(after)) < 5:
        return "too few rounds to tell"
    _, low, high = ratio_interval(before, after)
    if low > 1:
        return "faster"
    return "slower" if high < 1 else "no significant difference"
