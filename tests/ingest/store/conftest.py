"""A stream of known content, written by the writer itself."""

import numpy as np
import pytest

from ingest.store import BlockWriter
from neurascale.core.chunk import Chunk, GapReason
from tests.ingest.factories import make_stream

SCALE_UV = 4.5e6 / 24 / (2**23 - 1)
START_NS = 1_700_000_000_000_000_000


class Written:
    """A stream, and what should come back from it.

    ``data`` and ``aux`` hold NaN where nothing was written, ``gaps`` the (first_sample, n_times,
    reason) of what was left out, ``chunks`` what was appended.
    """

    def __init__(self, pieces, *, seed=0, n_channels=3, **fields):
        fields = {
            "picks": list(range(n_channels)),
            "ch_names": [f"EEG{i + 1}" for i in range(n_channels)],
            "scale_uv": [SCALE_UV] * n_channels,
            "aux_names": ["x", "y"],
            **fields,
        }
        self.stream = make_stream(**fields)
        self.writer = BlockWriter(self.stream, holder="")
        rng = np.random.default_rng(seed)
        self.chunks, self.gaps, self.stored = [], [], []
        position = 0
        for lost, n_times, reason in pieces:
            if lost:
                self.gaps.append((position, lost, reason.value))
                position += lost
            counts = rng.integers(-(2**23), 2**23, (n_channels, n_times))
            aux = rng.standard_normal((2, n_times)).astype(np.float32)
            aux[:, rng.random(n_times) < 0.8] = np.nan
            self.chunks.append(
                Chunk(
                    data=(counts * SCALE_UV).astype(np.float32),
                    sfreq=250.0,
                    first_sample=position,
                    time_ns=START_NS + 4_000_000 * position,
                    aux=aux,
                    gap=reason if lost else None,
                )
            )
            position += n_times
        self.n_times = position
        self.data = np.full((n_channels, position), np.nan, dtype=np.float32)
        self.aux = np.full((2, position), np.nan, dtype=np.float32)
        for chunk in self.chunks:
            self.data[:, chunk.first_sample : chunk.stop_sample] = chunk.data
            self.aux[:, chunk.first_sample : chunk.stop_sample] = chunk.aux
            self.stored.append(self.writer.append(chunk))
        self.stream.refresh_from_db()


def pieces_at_random(n_pieces, seed):
    """Return (samples lost, samples that came, why) of a stream on a bad day."""
    rng = np.random.default_rng(seed)
    reasons = list(GapReason)
    return [
        (
            int(rng.integers(1, 40)) if rng.random() < 0.2 else 0,
            int(rng.integers(1, 25)),
            reasons[rng.integers(len(reasons))],
        )
        for _ in range(n_pieces)
    ]


@pytest.fixture
def written(db):
    """Return a function that writes a stream, at random unless told otherwise."""

    def write(pieces=None, *, seed=0, **fields):
        return Written(pieces or pieces_at_random(80, seed), seed=seed, **fields)

    return write
