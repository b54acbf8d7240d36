"""Bytes hold samples to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from ingest.store.codec import decode, decode_many, encode

CYTON_GAINS = (1, 2, 4, 6, 8, 12, 24)
LOWEST, HIGHEST = -(2**23), 2**23 - 1


def cyton_scale_uv(gain):
    """Return microvolts per count: 4.5 V over 2**23 - 1 counts and the gain."""
    return 4.5e6 / gain / HIGHEST


def to_microvolts(counts, scale_uv):
    return (counts * np.reshape(scale_uv, (-1, 1))).astype(np.float32)


shapes = st.tuples(st.integers(1, 17), st.integers(1, 60))
all_counts = shapes.flatmap(
    lambda shape: st_np.arrays(np.int32, shape, elements=st.integers(LOWEST, HIGHEST))
)


@pytest.mark.parametrize("gain", CYTON_GAINS)
def test_every_count_of_24_bits_survives_at_every_gain_of_a_cyton(gain):
    scale = [cyton_scale_uv(gain)]
    for first in range(LOWEST, HIGHEST + 1, 2**21):
        counts = np.arange(first, first + 2**21, dtype=np.int32)[np.newaxis]
        data = to_microvolts(counts, scale)
        back = decode(encode(data, scale), scale)
        assert np.array_equal(back, data)
        assert np.array_equal(np.rint(back.astype(np.float64) / scale[0]).astype(np.int32), counts)


@given(counts=all_counts, data=st.data())
@settings(deadline=None)
def test_whatever_counts_come_back_as_they_went(counts, data):
    gains = st.sampled_from(CYTON_GAINS)
    n_channels = counts.shape[0]
    scale = [cyton_scale_uv(data.draw(gains)) for _ in range(n_channels)]
    microvolts = to_microvolts(counts, scale)
    back = decode(encode(microvolts, scale), scale)
    assert back.dtype == np.float32
    assert np.array_equal(back, microvolts)


@given(data=shapes.flatmap(lambda shape: st_np.arrays(np.float32, shape)))
@settings(deadline=None)
def test_floats_come_back_bit_by_bit_nan_and_infinity_included(data):
    back = decode(encode(data, None), None)
    assert back.shape == data.shape
    assert np.array_equal(np.ascontiguousarray(back).view(np.uint32), data.view(np.uint32))


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=30))
@settings(deadline=None)
def test_many_blocks_of_any_lengths_are_the_same_as_one_at_a_time(lengths):
    scale = [cyton_scale_uv(24)] * 3
    rng = np.random.default_rng(len(lengths))
    blocks = [to_microvolts(rng.integers(LOWEST, HIGHEST, (3, n)), scale) for n in lengths]
    payloads = [encode(block, scale) for block in blocks]
    for found, block, payload in zip(decode_many(payloads, scale), blocks, payloads, strict=True):
        assert np.array_equal(found, block)
        assert np.array_equal(decode(memoryview(payload), scale), block)


def test_no_blocks_are_no_arrays():
    assert decode_many([], None) == []


def test_a_real_signal_takes_less_room_than_packed_24_bits():
    rng = np.random.default_rng(2)
    # A random walk with steps of 40 counts (1 µV) on an offset of 60 mV.
    counts = 2_700_000 + np.cumsum(rng.normal(0, 40, (8, 250)), axis=1).astype(np.int32)
    scale = [cyton_scale_uv(24)] * 8
    assert len(encode(to_microvolts(counts, scale), scale)) < counts.size * 1.5


def test_data_may_be_any_view_of_an_array():
    scale = [cyton_scale_uv(24)] * 4
    counts = np.random.default_rng(3).integers(-1000, 1000, (16, 30))
    data = to_microvolts(counts, [cyton_scale_uv(24)] * 16)[::4, 5::2]
    assert np.array_equal(decode(encode(data, scale), scale), data)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_count_is_refused(value):
    data = np.zeros((2, 3), dtype=np.float32)
    data[1, 1] = value
    with pytest.raises(ValueError, match="no ADC counts"):
        encode(data, [1.0, 1.0])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 channels need as many scales"):
        encode(np.zeros((2, 3), dtype=np.float32), [1.0])
    with pytest.raises(ValueError, match="2 channels need as many scales"):
        decode(encode(np.zeros((2, 3), dtype=np.float32), [1.0, 1.0]), [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="not empty"):
        encode(np.zeros((2, 0), dtype=np.float32), None)
    with pytest.raises(ValueError, match=r"not \(3,\)"):
        encode(np.zeros(3, dtype=np.float32), None)


def test_counts_are_not_read_as_floats_nor_floats_as_counts():
    data = np.zeros((1, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="form 1 cannot be read without a scale"):
        decode(encode(data, [1.0]), None)
    with pytest.raises(ValueError, match="form 2 cannot be read with a scale"):
        decode(encode(data, None), [1.0])


def test_a_form_of_a_later_version_is_refused():
    payload = encode(np.zeros((1, 3), dtype=np.float32), [1.0])
    with pytest.raises(ValueError, match="form 9"):
        decode(b"\x09" + payload[1:], [1.0])


def test_a_block_cut_anywhere_is_refused():
    payload = encode(np.zeros((1, 300), dtype=np.float32), [1.0])
    for length in range(len(payload)):
        with pytest.raises(ValueError, match="cut short"):
            decode(payload[:length], [1.0])
