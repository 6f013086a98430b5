"""How long batches of one kind took: when an ending is likely, and so how often to look for it."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

FEWEST = 40
"""Endings from which a history is believed."""
_BINS = 48


@dataclass(frozen=True, slots=True)
class History:
    """The durations of one kind of batch, as looks that they are worth."""

    ages: tuple[float, ...]
    """Quantiles, in seconds; the first is the shortest duration there was."""
    looks: tuple[float, ...]
    """Looks worth their while from the beginning up to each, in units of `patience`.

    Rising with the square root of the hazard (the chance to end now, of those that have not): that spends a number of
    requests so that endings are known soonest on average.
    """

    @classmethod
    def of(cls, durations: Iterable[float]) -> "History | None":
        """None where there are too few."""
        ordered = sorted(seconds for seconds in durations if seconds >= 0)
        if len(ordered) < FEWEST:
            return None
        last = len(ordered) - 1
        bins = min(_BINS, len(ordered) // 8)
        ages, looks = [ordered[0]], [0.0]
        ranks = [round(last * number / bins) for number in range(bins + 1)]
        for start, end in pairwise(ranks):
            width = max(ordered[end] - ordered[start], 1.0)
            share = (end - start) / (len(ordered) - start)
            ages.append(max(ordered[end], ages[-1]))
            looks.append(looks[-1] + sqrt(share * width))
        return cls(tuple(ages), tuple(looks))

    def wait(self, age: float, patience: float) -> float | None:
        """Seconds from this age until a look is worth its while; None for an age that no batch has reached.

        A great `patience` looks rarely.
        """
        if age >= self.ages[-1]:
            return None
        goal = self._at(age) + patience
        if goal >= self.looks[-1]:
            return self.ages[-1] - age
        slot = bisect_right(self.looks, goal)
        share = (goal - self.looks[slot - 1]) / (self.looks[slot] - self.looks[slot - 1])
        return self.ages[slot - 1] + share * (self.ages[slot] - self.ages[slot - 1]) - age

    def _at(self, age: float) -> float:
        slot = bisect_right(self.ages, age)
        if slot == 0:
            return 0.0
        low, high = self.ages[slot - 1], self.ages[slot]
        share = (age - low) / (high - low)
        return self.looks[slot - 1] + share * (self.looks[slot] - self.looks[slot - 1])
