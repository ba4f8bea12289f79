"""The prefixes used last, so that the same person costs no second prefill."""

from collections import OrderedDict
from itertools import takewhile

from ckf_demo.backbone.engine import Engine, Prefix

LIMIT = 256 * 2**20
"""Bytes of keys and values that are kept."""


class PrefixCache:
    """The prefixes used last, by their tokens, for one engine: one checkpoint and its adapters.

    A new prefix starts from the kept one with which it has the longest beginning in common: all of
    it when a history has grown, a part when its end was taken back or changed.
    """

    def __init__(self, engine: Engine, limit: int = LIMIT):
        self.engine, self.limit = engine, limit
        self._kept: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of keys and values kept; never above the limit unless one prefix alone is."""
        return sum(prefix.size for prefix in self._kept.values())

    def __call__(self, ids: list[int]) -> Prefix:
        """Keys and values of a prefix."""
        key = tuple(ids)
        if key not in self._kept:
            nearest, common = None, 0
            for other, prefix in self._kept.items():
                length = shared_length(key, other)
                if length > common:
                    nearest, common = prefix, length
            self._kept[key] = self.engine.prefill(ids, nearest, common)
            while self.size > self.limit and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def shared_length(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many leading tokens two sequences have in common."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
