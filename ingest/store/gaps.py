"""What a reader is told of samples that are not there."""

from __future__ import annotations

from dataclasses import dataclass

# Never stored as a gap: pruning deletes rows, it does not write any.
PRUNED = "pruned"


@dataclass(frozen=True, slots=True)
class Missing:
    """Samples that are not there, and why.

    Parameters
    ----------
    first_sample : int
        Index of the first of them.
    n_times : int
        How many.
    reason : str
        A `GapReason`, or `PRUNED`.
    """

    first_sample: int
    n_times: int
    reason: str

    @property
    def stop_sample(self) -> int:
        """Index of the first sample after the gap."""
        return self.first_sample + self.n_times
