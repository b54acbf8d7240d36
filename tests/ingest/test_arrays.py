"""Samples on the wire: what is taken, what is refused, and what comes back."""

from __future__ import annotations

import io
import pickle
import struct

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import arrays
from ingest.arrays import Layout
from ingest.errors import InvalidArrayError

DATA = np.arange(16, dtype=np.float32).reshape(2, 8) / 4


def npy(array: np.ndarray) -> bytes:
    body = io.BytesIO()
    np.save(body, array)
    return body.getvalue()


def arrow(array: np.ndarray, *, batches: int = 1, **options) -> bytes:
    sink = io.BytesIO()
    schema = pa.schema([(f"c{i}", pa.from_numpy_dtype(array.dtype)) for i in range(len(array))])
    with pa.ipc.new_stream(sink, schema, **options) as writer:
        for piece in np.array_split(array, batches, axis=1):
            writer.write_batch(pa.record_batch([pa.array(row) for row in piece], schema=schema))
    return sink.getvalue()


def refused(call, *arguments, **keywords) -> InvalidArrayError:
    with pytest.raises(InvalidArrayError) as caught:
        call(*arguments, **keywords)
    assert list(caught.value.details["fields"].values()) == [[caught.value.message]]
    return caught.value


# --- The layout rule of the contract -------------------------------------------------------------


def test_rows_are_channels_when_there_are_as_many_rows_as_channels():
    assert np.array_equal(arrays.from_rows(DATA.tolist(), n_channels=2), DATA)


def test_rows_are_samples_when_each_row_has_as_many_values_as_there_are_channels():
    assert np.array_equal(arrays.from_rows(DATA.T.tolist(), n_channels=2), DATA)


def test_rows_are_channels_when_both_would_fit():
    square = [[1.0, 2.0], [3.0, 4.0]]
    assert arrays.from_rows(square, n_channels=2).tolist() == square


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Layout.CHANNELS_FIRST, [[1.0, 2.0], [3.0, 4.0]]),
        (Layout.SAMPLES_FIRST, [[1.0, 3.0], [2.0, 4.0]]),
    ],
)
def test_a_stated_layout_settles_it(layout, expected):
    data = arrays.from_rows([[1.0, 2.0], [3.0, 4.0]], n_channels=2, layout=layout)
    assert data.tolist() == expected


def test_a_stated_layout_that_does_not_fit_is_refused():
    error = refused(arrays.from_rows, DATA.tolist(), n_channels=2, layout=Layout.SAMPLES_FIRST)
    assert "2 rows of 8 values" in error.message
    assert "samples_first" in error.message


def test_when_neither_side_fits_the_error_names_both():
    error = refused(arrays.from_rows, DATA.tolist(), n_channels=4)
    assert "2 rows of 8 values" in error.message
    assert "channels 4" in error.message


# --- JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        None,
        "text",
        {},
        [],
        [[]],
        [[], []],
        [1.0, 2.0],
        [[1.0], 2.0],
        [[1.0, 2.0], [3.0]],
        [["1.5", 2.0], [3.0, 4.0]],
        [[True, 2.0], [3.0, 4.0]],
        [[None, 2.0], [3.0, 4.0]],
        [[[1.0], [2.0]], [[3.0], [4.0]]],
        [[1e39, 2.0], [3.0, 4.0]],
        [[float("nan"), 2.0], [3.0, 4.0]],
    ],
)
def test_json_that_is_no_rows_of_finite_numbers_is_refused(rows):
    error = refused(arrays.from_rows, rows, n_channels=2)
    assert "data.eeg" in error.message


def test_null_is_refused_with_the_advice_to_leave_it_out():
    error = refused(arrays.from_rows, [[1.0, None], [1.0, 2.0]], n_channels=2)
    assert "null" in error.message
    assert "gap" in error.details["suggestion"]


def test_the_error_names_the_first_value_that_is_not_finite():
    bad = DATA.copy()
    bad[1, 3] = np.inf
    assert "channel 2, sample 3" in refused(arrays.from_npy, npy(bad), n_channels=2).message


def test_whole_numbers_are_numbers():
    assert arrays.from_rows([[1, 2], [3, 2**63]], n_channels=2).tolist() == [[1, 2], [3, 2.0**63]]


# --- .npy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i2", "<i4", "<u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_number_type_and_order_is_taken(dtype, order):
    whole = np.arange(16).reshape(2, 8)
    data = arrays.from_npy(npy(np.asarray(whole, dtype=dtype, order=order)), n_channels=2)
    assert data.dtype == np.float32
    assert np.array_equal(data, whole)


def test_npy_follows_the_layout_rule():
    assert np.array_equal(arrays.from_npy(npy(DATA.T), n_channels=2), DATA)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x93NUMPY",
        b"not npy at all",
        npy(DATA)[:-1],
        npy(DATA) + b"\0",
        npy(DATA[0]),
        npy(DATA[np.newaxis]),
        npy(DATA > 1),
        npy(DATA.astype(complex)),
        npy(DATA.astype("S4")),
        npy(np.full((2, 8), np.nan)),
        npy(np.full((2, 8), 1e300)),
        npy(np.zeros((2, 0))),
        npy(DATA).replace(b"'<f4'", b"'xyz'"),
        npy(DATA).replace(b"(2, 8)", b"(-2,8)"),
        npy(DATA).replace(b"(2, 8)", b"(0, 9)"),
    ],
)
def test_npy_that_is_damaged_or_no_finite_numbers_is_refused(body):
    assert "body" in refused(arrays.from_npy, body, n_channels=2).message


def test_npy_with_a_pickle_inside_is_never_unpickled():
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    body = npy(DATA).partition(b"\n")[0].replace(b"'<f4'", b"'|O' ") + b"\n"
    error = refused(arrays.from_npy, body + pickle.dumps(Bomb()), n_channels=2)
    assert "O" in error.message


def test_npy_whose_header_promises_terabytes_allocates_nothing():
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2, 10**12)}
    )
    error = refused(arrays.from_npy, header.getvalue() + bytes(64), n_channels=2)
    assert "64 follow" in error.message


# --- Arrow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_arrow_columns_are_channels(dtype, batches):
    whole = np.arange(16).reshape(2, 8).astype(dtype)
    data = arrays.from_arrow(arrow(whole, batches=batches), n_channels=2)
    assert data.dtype == np.float32
    assert np.array_equal(data, whole)


def with_null() -> bytes:
    sink = io.BytesIO()
    batch = pa.record_batch({"a": [1.0, None], "b": [1.0, 2.0]})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def with_strings() -> bytes:
    sink = io.BytesIO()
    batch = pa.record_batch({"a": ["1.0"], "b": ["2.0"]})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not arrow at all",
        arrow(DATA)[:40],
        arrow(DATA)[:-80],
        arrow(np.concatenate([DATA, DATA])),
        arrow(np.full((2, 3), np.inf)),
        arrow(np.zeros((2, 0))),
        with_null(),
        with_strings(),
        npy(DATA),
    ],
)
def test_arrow_that_is_damaged_or_no_finite_numbers_is_refused(body):
    assert "body" in refused(arrays.from_arrow, body, n_channels=2).message


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_arrow_is_refused_before_it_is_inflated(codec):
    options = pa.ipc.IpcWriteOptions(compression=codec)
    body = arrow(np.zeros((2, 1_000_000), np.float32), options=options)
    assert len(body) < 40_000
    allocated = pa.total_allocated_bytes()
    error = refused(arrays.from_arrow, body, n_channels=2)
    assert "compressed" in error.message
    assert pa.total_allocated_bytes() == allocated


def test_arrow_that_claims_more_rows_than_it_brings_is_refused():
    whole = np.arange(24, dtype=np.float32).reshape(2, 12)
    body = arrow(whole)
    # The length of 12 rows stands in the record batch and in its two field nodes.
    claimed = body.replace(struct.pack("<q", 12), struct.pack("<q", 1 << 40))
    assert claimed != body
    refused(arrays.from_arrow, claimed, n_channels=2)


@settings(deadline=None)
@given(cut=st.integers(0, 2000), flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 7))))
@pytest.mark.parametrize("form", ["npy", "arrow"])
def test_whatever_bytes_come_the_answer_is_samples_or_a_refusal(form, cut, flips):
    body = bytearray(npy(DATA) if form == "npy" else arrow(DATA))
    for place, bit in flips:
        body[place % len(body)] ^= 1 << bit
    read = arrays.from_npy if form == "npy" else arrays.from_arrow
    try:
        data = read(bytes(body[: max(cut, 1)]), n_channels=2)
    except InvalidArrayError:
        return
    assert data.shape[0] == 2
    assert np.isfinite(data).all()


# --- Out -----------------------------------------------------------------------------------------


def pieces_of(data: np.ndarray) -> list[np.ndarray]:
    return [data[:, :3], data[:, 3:4], data[:, 4:]]


def test_pieces_become_one_npy_file_with_nan_where_samples_are_missing():
    data = DATA.copy()
    data[:, 5] = np.nan
    body = b"".join(arrays.to_npy(pieces_of(data), shape=data.shape))
    read = np.load(io.BytesIO(body))
    assert read.dtype == np.float32
    assert read.shape == (2, 8)
    assert np.array_equal(read, data, equal_nan=True)


def test_pieces_become_an_arrow_stream_with_null_where_samples_are_missing():
    data = DATA.copy()
    data[:, 5] = np.nan
    parts = list(arrays.to_arrow(pieces_of(data), names=["Fp1", "Fp2"], metadata={"sfreq": "250"}))
    assert len(parts) == 4  # a part a piece, and the end: nothing waits for the whole
    table = pa.ipc.open_stream(b"".join(parts)).read_all()
    assert table.schema.metadata == {b"sfreq": b"250"}
    assert table.column_names == ["Fp1", "Fp2"]
    assert table["Fp1"].null_count == 1
    assert table["Fp2"].to_pylist() == [2.0, 2.25, 2.5, 2.75, 3.0, None, 3.5, 3.75]


def test_no_pieces_are_an_empty_file_of_either_format():
    body = b"".join(arrays.to_npy([], shape=(2, 0)))
    assert np.load(io.BytesIO(body)).shape == (2, 0)
    body = b"".join(arrays.to_arrow([], names=["Fp1"], metadata={}))
    assert pa.ipc.open_stream(body).read_all().num_rows == 0


def test_what_is_written_can_be_sent_back_in():
    body = b"".join(arrays.to_npy(pieces_of(DATA), shape=DATA.shape))
    assert np.array_equal(arrays.from_npy(body, n_channels=2), DATA)
    body = b"".join(arrays.to_arrow(pieces_of(DATA), names=["a", "b"], metadata={}))
    assert np.array_equal(arrays.from_arrow(body, n_channels=2), DATA)


def test_json_of_the_seed_arrives_as_it_was_printed():
    rows = orjson.loads(b"[[0.1, 0.2], [0.15, 0.25]]")
    assert arrays.from_rows(rows, n_channels=2).tolist() == [
        [float(np.float32(0.1)), float(np.float32(0.2))],
        [float(np.float32(0.15)), 0.25],
    ]
