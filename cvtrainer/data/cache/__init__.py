"""Decoded pixels that are kept: in memory, or in packed shards on disk."""

from cvtrainer.data.cache.memory import MemoryCache
from cvtrainer.data.cache.packed import PackedCache

__all__ = ["MemoryCache", "PackedCache"]
