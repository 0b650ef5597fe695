"""What units take whose like has been measured: the words of their paths tell.

In: names with a figure. Out: a figure for another name. Projects name the instances of a template by its parameters
(`flash_fwd_split_hdim128_bf16_causal_sm80.cu`), and keep what is alike in one folder: each word of a file's name, and
each folder above it, has a factor, found by ridge regression of the figures' logarithms. It cannot fail.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from statistics import fmean

_WORD = re.compile(r"[a-z]+\d*|[A-Z][a-z]*\d*|\d+")
_RIDGE = 0.3  # how many figures a word must explain before it is half believed, about
_ROUNDS = 25  # of coordinate descent; the factors of a hundred units stand still after twenty


class Likeness:
    """Figures by name; none may be negative."""

    def __init__(self, figures: Iterable[tuple[str, float]]) -> None:
        rows = [(_features(name), math.log(max(figure, 0.01))) for name, figure in figures]
        self._mean = fmean(figure for _, figure in rows) if rows else 0.0
        self._factors: dict[str, float] = defaultdict(float)
        having = defaultdict(list)
        rest = [figure - self._mean for _, figure in rows]
        for number, (features, _) in enumerate(rows):
            for feature in features:
                having[feature].append(number)
        for _ in range(_ROUNDS):
            for feature, numbers in having.items():
                old = self._factors[feature]
                new = sum(rest[number] + old for number in numbers) / (len(numbers) + _RIDGE)
                self._factors[feature] = new
                for number in numbers:
                    rest[number] += old - new

    def of(self, name: str) -> float:
        """The figure to expect for `name`."""
        return math.exp(self._mean + sum(self._factors.get(feature, 0.0) for feature in _features(name)))

    def novelty(self, name: str) -> float:
        """The share of the words of a file's name that no figure is known of, 0 to 1."""
        words = _words(name)
        return sum(word not in self._factors for word in words) / len(words) if words else 1.0


def _features(name: str) -> set[str]:
    return {f"{folder}/" for folder in PurePosixPath(name).parents} | _words(name)


def _words(name: str) -> set[str]:
    return set(_WORD.findall(PurePosixPath(name).stem))
