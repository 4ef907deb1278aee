"""Counter-based randomness: a seed is computed from what it is for, never drawn from a stream.

The same (seed, epoch, position, place) gives the same number in any process, on any rank, with any
count of workers, in a fresh run or a resumed one. Splitmix64 mixes the counters.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


def mix(*counters: int) -> int:
    """Hash integers into 64 well mixed bits; the order matters."""
    state = len(counters)
    for counter in counters:
        state = _finish((state + _STEP + (counter & _MASK)) & _MASK)
    return state


def sample_seed(seed: int, epoch: int, position: int, place: int = 0) -> int:
    """The seed of one draw: `position` in the epoch's global order, `place` in the pipeline."""
    return mix(seed, epoch, position, place)


def unit(seed: int) -> float:
    """A seed as a number in [0, 1)."""
    return (seed >> 11) * 2.0**-53


def _finish(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)
