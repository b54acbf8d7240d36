"""Samples to bytes and back, without losing a bit.

Rule of this file: no Django. What it writes stays readable: the first byte says which of the forms
below follows, a new form takes a new number.

====  ==================================================================================
 1    int32 ADC counts; each channel's first differences over time; (n_times, n_channels)
 2    float32 as it is, NaN included; (n_times, n_channels)
====  ==================================================================================

After that byte come the number of channels (uint16, little endian) and a Blosc frame (Zstandard
level 1, bit shuffle), which knows its own length.

Counts rather than microvolts: 24 bits of converter in 24 bits of float32 leave no room for a scale,
so the products look like noise to a compressor. Differences, because EEG is slow against its
offset. Sample by sample, because a live block is short, and neighbouring electrodes resemble each
other more than an electrode resembles itself 40 ms later.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numcodecs import blosc
from numpy.typing import ArrayLike, NDArray

COUNTS = 1
FLOATS = 2
_HEADER = struct.Struct("<BH")
_FRAME_HEADER = struct.Struct("<12xI")  # c-blosc, README_CHUNK_FORMAT: the last four say its length

# Blosc's own threads cost more than a block of 40 ms takes, share global state, and die in a fork.
blosc.use_threads = False


def encode(data_uv: NDArray[np.float32], scale_uv: ArrayLike | None) -> bytes:
    """Pack consecutive samples.

    Parameters
    ----------
    data_uv : ndarray of float32, shape (n_channels, n_times)
        Microvolts, at least one sample of one channel. With ``scale_uv=None`` any unit.
    scale_uv : array_like, shape (n_channels,), or None
        Microvolts per ADC count: the counts are what is stored, so every value must be a whole
        number of them, multiplied in float64 and rounded to float32 once. That is 0.47 of a count
        away at most; rounded twice it can be a count. None stores float32 as it is, NaN allowed.

    Returns
    -------
    bytes
        For `decode`.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or a value is no count: NaN, infinite, or beyond 32
        bits.
    """
    if data_uv.ndim != 2 or data_uv.size == 0:
        raise ValueError(f"data must be (n_channels, n_times), not empty, not {data_uv.shape}")
    n_channels = data_uv.shape[0]
    if scale_uv is None:
        samples = np.ascontiguousarray(data_uv.T, dtype="<f4")
        return _pack(FLOATS, n_channels, samples)
    counts = np.rint(data_uv.T / _scale_of(scale_uv, n_channels))
    # Written so that NaN fails too.
    if not (np.abs(counts).max() < 2**31):
        raise ValueError("data holds values that are no ADC counts: NaN, infinite or too large")
    # In C order: Blosc packs memory as it lies, and the transpose of an array lies the other way.
    differences = counts.astype("<i4", order="C")
    differences[1:] -= differences[:-1].copy()  # wraps around, and back again in `decode`
    return _pack(COUNTS, n_channels, differences)


def decode(payload: bytes | memoryview, scale_uv: ArrayLike | None) -> NDArray[np.float32]:
    """Unpack what `encode` packed.

    Parameters
    ----------
    payload : bytes or memoryview
        As `encode` returned it.
    scale_uv : array_like, shape (n_channels,), or None
        As it was given to `encode`.

    Returns
    -------
    ndarray of float32, shape (n_channels, n_times)
        Microvolts: the same counts times the scale, rounded to float32.

    Raises
    ------
    ValueError
        If these are no samples of that many channels, or a form this version does not know.
    """
    return decode_many([payload], scale_uv)[0]


def decode_many(
    payloads: Sequence[bytes | memoryview], scale_uv: ArrayLike | None
) -> list[NDArray[np.float32]]:
    """Unpack many blocks of one stream, all blocks of one length at a time.

    Parameters
    ----------
    payloads : sequence of bytes or memoryview
        As `encode` returned them.
    scale_uv : array_like, shape (n_channels,), or None
        As it was given to `encode`.

    Returns
    -------
    list of ndarray of float32, shape (n_channels, n_times)
        One array a block, in the order of ``payloads``.

    Raises
    ------
    ValueError
        As for `decode`.
    """
    alike: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    plain: list[bytes] = []
    for position, payload in enumerate(payloads):
        samples = _unpack(payload)
        alike[*_HEADER.unpack_from(payload), len(samples)].append(position)
        plain.append(samples)
    blocks: list[NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * len(plain)
    for (form, n_channels, n_bytes), positions in alike.items():
        if (form == FLOATS) != (scale_uv is None) or form not in {COUNTS, FLOATS}:
            raise ValueError(
                f"A block of form {form} cannot be read {'without' if scale_uv is None else 'with'}"
                f" a scale; known are {COUNTS} (counts, with) and {FLOATS} (float32, without)"
            )
        shape = (len(positions), n_bytes // 4 // n_channels, n_channels)
        joined = b"".join([plain[position] for position in positions])
        if scale_uv is None:
            data = np.frombuffer(joined, "<f4").reshape(shape).astype(np.float32)
        else:
            counts = np.frombuffer(joined, "<i4").reshape(shape).cumsum(axis=1, dtype=np.int32)
            data = (counts * _scale_of(scale_uv, n_channels)).astype(np.float32)
        for position, block in zip(positions, data.transpose(0, 2, 1), strict=True):
            blocks[position] = block
    return blocks


def _pack(form: int, n_channels: int, samples: NDArray[np.generic]) -> bytes:
    frame: bytes = blosc.compress(samples, b"zstd", 1, blosc.BITSHUFFLE)
    return _HEADER.pack(form, n_channels) + frame


def _unpack(payload: bytes | memoryview) -> bytes:
    frame = payload[_HEADER.size :]
    # Blosc itself reads as far as its header says, whatever it was given.
    if len(frame) < _FRAME_HEADER.size or _FRAME_HEADER.unpack_from(frame)[0] != len(frame):
        raise ValueError(f"A block of {len(payload)} bytes was cut short or is none")
    try:
        plain: bytes = blosc.decompress(frame)
    except RuntimeError as error:
        raise ValueError(f"A block of {len(payload)} bytes is damaged: {error}") from error
    return plain


def _scale_of(scale_uv: ArrayLike, n_channels: int) -> NDArray[np.float64]:
    scale = np.asarray(scale_uv, dtype=np.float64)
    if scale.shape != (n_channels,):
        raise ValueError(f"{n_channels} channels need as many scales, not shape {scale.shape}")
    return scale
