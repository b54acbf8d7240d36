"""Samples on the wire: JSON rows, .npy and Arrow IPC, in and out.

Rule of this file: no Django. What comes in is untrusted: nothing is unpickled or inflated, and
nothing is allocated that the body did not bring along.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.errors import InvalidArrayError

NPY = "application/x-npy"
ARROW = "application/vnd.apache.arrow.stream"

# numpy.lib.format: magic and version, then the header's length, then a Python literal.
_NPY_HEADER_SIZE = {
    b"\x93NUMPY\x01\x00": struct.Struct("<H"),
    b"\x93NUMPY\x02\x00": struct.Struct("<I"),
}
_NPY_ENTRIES = (
    re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[fiu][0-9]{1,2})['"]"""),
    re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)"""),
    re.compile(r"""['"]shape['"]\s*:\s*\(([0-9, ]{1,60})\)"""),
)

LEAVE_OUT = (
    "Leave missing samples out and send what follows with its own timestamp: that makes a gap."
)


class Layout(StrEnum):
    """Which way round a two-dimensional array is."""

    CHANNELS_FIRST = "channels_first"
    SAMPLES_FIRST = "samples_first"


def from_rows(
    rows: Any, *, n_channels: int, layout: Layout | None = None, field: str = "data.eeg"
) -> NDArray[np.float32]:
    """Take samples from the rows of a JSON body.

    Parameters
    ----------
    rows : list of list of float
        As they came from the parser, unchecked.
    n_channels : int
        How many channels the sender says there are.
    layout : Layout, optional
        Stated by the sender; else told from the shape, see `oriented`.
    field : str
        What the sender calls the rows, for error messages.

    Returns
    -------
    ndarray of float32, shape (n_channels, n_times)
        The unit is the sender's.

    Raises
    ------
    InvalidArrayError
        If these are no rows of one length, or hold anything but finite numbers.
    """
    # Types first: numpy would take "1.5" and true for numbers.
    if type(rows) is not list or set(map(type, rows)) != {list}:
        raise _refusal(field, f"{field} must be a list of lists of numbers, one list a channel")
    lengths = sorted(set(map(len, rows)))
    if len(lengths) > 1:
        raise _refusal(
            field, f"All rows of {field} must have one length; there are {lengths[0]}-{lengths[-1]}"
        )
    kinds = set(map(type, chain.from_iterable(rows))) - {int, float}
    if kinds:
        names = sorted({"null" if kind is type(None) else kind.__name__ for kind in kinds})
        raise _refusal(
            field, f"{field} may hold numbers only, and holds {', '.join(names)}", LEAVE_OUT
        )
    with np.errstate(over="ignore"):
        # Eight times faster than np.array, which looks for deeper nesting.
        flat = np.fromiter(chain.from_iterable(rows), np.float32, count=len(rows) * lengths[0])
    data = flat.reshape(len(rows), lengths[0])
    return _checked(oriented(data, n_channels=n_channels, layout=layout, field=field), field)


def from_npy(
    body: bytes, *, n_channels: int, layout: Layout | None = None, field: str = "body"
) -> NDArray[np.float32]:
    """Take samples from a .npy file.

    Parameters
    ----------
    body : bytes
        Version 1.0 or 2.0 of the format, two dimensions, integers or floats.
    n_channels, layout, field
        As for `from_rows`.

    Returns
    -------
    ndarray of float32, shape (n_channels, n_times)
        It may be a read-only view of ``body``.

    Raises
    ------
    InvalidArrayError
        If it is no such file, or holds a value that is not finite.

    References
    ----------
    .. [1] https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    dtype, shape, is_fortran, start = _npy_header(body, field)
    # Before anything is allocated: a header may claim whatever it likes.
    n_bytes, n_present = math.prod(shape) * dtype.itemsize, len(body) - start
    if n_bytes != n_present:
        raise _refusal(
            field,
            f"The {field}'s header announces {shape} {dtype}, {n_bytes} bytes; {n_present} follow",
        )
    data = np.frombuffer(body, dtype, offset=start)
    data = data.reshape(shape, order="F" if is_fortran else "C")
    return _checked(oriented(data, n_channels=n_channels, layout=layout, field=field), field)


def _npy_header(body: bytes, field: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Return element type, shape, Fortran order and where the data begins.

    numpy's own reader evaluates the header as Python, which bytes from outside can trip in more
    ways than it foresees; there are only three things to find.
    """
    size = _NPY_HEADER_SIZE.get(body[:8])
    if size is None or len(body) < 8 + size.size:
        raise _refusal(field, f"The {field} is not a .npy file of version 1.0 or 2.0")
    start = 8 + size.size + size.unpack_from(body, 8)[0]
    header = body[8 + size.size : start].decode("latin1")
    found = [pattern.search(header) for pattern in _NPY_ENTRIES]
    if len(body) < start or not all(found):
        raise _refusal(
            field, f"The {field} is not a .npy file of numbers: its header is {header[:200]!r}"
        )
    descr, order, extent = (match[1] for match in found if match)
    shape = tuple(int(length) for length in extent.split(",") if length.strip())
    if len(shape) != 2 or 0 in shape:
        raise _refusal(
            field, f"The {field} must have two dimensions and some samples; it announces {shape}"
        )
    try:
        return np.dtype(descr), shape, order == "True", start
    except TypeError as error:
        raise _refusal(field, f"The {field} announces elements of type {descr!r}") from error


def from_arrow(body: bytes, *, n_channels: int, field: str = "body") -> NDArray[np.float32]:
    """Take samples from an Arrow IPC stream, one column a channel.

    Parameters
    ----------
    body : bytes
        Any number of record batches with integer or float columns; buffers not compressed.
    n_channels : int
        How many channels the sender says there are.
    field : str
        What to call the body in error messages.

    Returns
    -------
    ndarray of float32, shape (n_channels, n_times)
        In the order of the columns.

    Raises
    ------
    InvalidArrayError
        If it is no such stream, or holds a null or a value that is not finite.

    References
    ----------
    .. [1] https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
    """
    try:
        _refuse_compressed(body, field)
        with pa.ipc.open_stream(body) as reader:
            _check_columns(reader.schema, n_channels, field)
            pieces = [_rows_of(batch, field) for batch in reader]
    except (pa.ArrowException, OSError, struct.error, UnicodeDecodeError) as error:
        raise _refusal(field, f"The {field} is not an Arrow IPC stream: {error}") from error
    if not pieces:
        raise _refusal(field, f"The {field} has no record batch")
    return _checked(pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1), field)


def _check_columns(schema: pa.Schema, n_channels: int, field: str) -> None:
    """Raise unless there is a column of numbers for each channel."""
    for column in schema:
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise _refusal(
                field, f"Column {column.name!r} of the {field} holds {column.type}, not numbers"
            )
    if len(schema) != n_channels:
        raise _refusal(field, f"The {field} has {len(schema)} columns for {n_channels} channels")


def _rows_of(batch: pa.RecordBatch, field: str) -> NDArray[Any]:
    """Return the columns of a record batch as rows."""
    batch.validate(full=True)  # lengths and offsets are the sender's claims until here
    if any(column.null_count for column in batch.columns):
        raise _refusal(field, f"The {field} may hold numbers only, and holds null", LEAVE_OUT)
    return np.stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])


def _refuse_compressed(body: bytes, field: str) -> None:
    """Raise if any buffer is compressed: it could inflate without bound."""
    for message in pa.ipc.MessageReader.open_stream(body):
        if message.type == "record batch" and _is_compressed(message):
            raise _refusal(
                field,
                f"The {field}'s buffers are compressed",
                "Send them uncompressed; compress the request as a whole if it must be small.",
            )


def _is_compressed(message: pa.Message) -> bool:
    """Tell whether a record batch claims that its buffers are compressed.

    pyarrow has no option to refuse them, so this looks at the flatbuffer itself: in the schema
    (format/Message.fbs) ``header`` is field 2 of Message and ``compression`` field 3 of
    RecordBatch. The reader has verified the buffer, so that its offsets lie within.
    """
    metadata = memoryview(message.metadata)

    def field_of(table: int, number: int) -> int:
        vtable = table - struct.unpack_from("<i", metadata, table)[0]
        (size,) = struct.unpack_from("<H", metadata, vtable)
        entry = 4 + 2 * number
        return struct.unpack_from("<H", metadata, vtable + entry)[0] if entry < size else 0

    (root,) = struct.unpack_from("<I", metadata, 0)
    header = root + field_of(root, 2)
    header += struct.unpack_from("<I", metadata, header)[0]
    return field_of(header, 3) != 0


def oriented(
    data: NDArray[Any], *, n_channels: int, layout: Layout | None, field: str
) -> NDArray[Any]:
    """Turn an array so that its rows are channels.

    Parameters
    ----------
    data : ndarray, shape (n_channels, n_times) or (n_times, n_channels)
        Either way round.
    n_channels : int
        How many channels the sender says there are.
    layout : Layout or None
        Which way round it is. None: rows are channels if there are ``n_channels`` of them, else
        rows are samples if each has ``n_channels`` values. A square array has channels first.
    field : str
        What the sender calls it, for error messages.

    Returns
    -------
    ndarray, shape (n_channels, n_times)
        A view.

    Raises
    ------
    InvalidArrayError
        If neither side is ``n_channels`` long, or the stated one is not.
    """
    n_rows, n_columns = data.shape
    if n_rows == n_channels and layout != Layout.SAMPLES_FIRST:
        return data
    if n_columns == n_channels and layout != Layout.CHANNELS_FIRST:
        return data.T
    stated = f" and layout {layout}" if layout else ""
    raise _refusal(
        field,
        f"{field} has {n_rows} rows of {n_columns} values, which does not fit "
        f"channels {n_channels}{stated}",
        "Rows are channels or samples; state which with layout.",
    )


def _checked(data: NDArray[Any], field: str) -> NDArray[np.float32]:
    """Return data as float32, finite and not empty."""
    if data.size == 0:
        raise _refusal(field, f"{field} holds no samples")
    with np.errstate(over="ignore"):
        data = np.asarray(data, dtype=np.float32)
    finite = np.isfinite(data)
    if not finite.all():
        channel, sample = np.argwhere(~finite)[0]
        raise _refusal(
            field,
            f"{field} holds NaN, an infinity or more than float32 can: first in channel "
            f"{channel + 1}, sample {sample}",
            LEAVE_OUT,
        )
    return data


def _refusal(field: str, message: str, suggestion: str | None = None) -> InvalidArrayError:
    details: dict[str, Any] = {"fields": {field: [message]}}
    if suggestion:
        details["suggestion"] = suggestion
    return InvalidArrayError(message, **details)


def to_npy(pieces: Iterable[NDArray[np.float32]], *, shape: tuple[int, int]) -> Iterator[bytes]:
    """Write consecutive pieces as one .npy file, without ever holding it all.

    Parameters
    ----------
    pieces : iterable of ndarray of float32, shape (n_channels, n_times of the piece)
        Together ``shape``.
    shape : tuple of (int, int)
        (n_channels, n_times) of the whole.

    Yields
    ------
    bytes
        Parts of a file that :func:`numpy.load` reads as float32 of ``shape``. In the file samples
        follow one another (Fortran order), because that is how they come.
    """
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": True, "shape": shape}
    )
    yield head.getvalue()
    for piece in pieces:
        yield np.ascontiguousarray(piece.T, dtype="<f4").tobytes()


def to_arrow(
    pieces: Iterable[NDArray[np.float32]],
    *,
    names: Sequence[str],
    metadata: Mapping[str, str],
) -> Iterator[bytes]:
    """Write consecutive pieces as an Arrow IPC stream, a record batch each.

    Parameters
    ----------
    pieces : iterable of ndarray of float32, shape (n_channels, n_times of the piece)
        NaN becomes null.
    names : sequence of str
        Names of the channels, which become columns of float32.
    metadata : mapping of str to str
        Metadata of the schema.

    Yields
    ------
    bytes
        Parts of the stream.
    """
    schema = pa.schema([pa.field(name, pa.float32()) for name in names], metadata=dict(metadata))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for piece in pieces:
            columns = [pa.array(row, from_pandas=True) for row in np.ascontiguousarray(piece)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            yield _drain(sink)
    yield _drain(sink)


def _drain(sink: io.BytesIO) -> bytes:
    """Return what was written since the last time."""
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return written
