"""What a program sends to be ingested, read and checked: the hot path, without serializer classes.

=========================================  ===================================================
``application/json``                       as in the seed document; ``data.layout`` may be there
``application/x-npy``                      a .npy file; the rest in the URL's query
``application/vnd.apache.arrow.stream``    one column a channel; the rest in the URL's query
=========================================  ===================================================

In the query: ``device_id``, ``session_id``, ``timestamp``, ``sample_rate``, ``channels``, and
optionally ``layout`` and ``metadata`` (a JSON object).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest import arrays
from ingest.arrays import ARROW, NPY, Layout
from ingest.errors import InvalidIngestionError
from ingest.wire import LATEST_NS, to_ns
from neurascale.core.errors import InvalidError
from neurascale.core.wire import loads
from neurascale.core.wire_limits import check_value

JSON = "application/json"
FORMS = (JSON, NPY, ARROW)

MAX_CHANNELS = 1024
MIN_SFREQ, MAX_SFREQ = 1e-3, 100_000.0
MAX_ID_LENGTH = 200
LARGE_JSON_BYTES = 2**20
# Python makes of JSON up to sixteen times as much: of large ones a process reads one at a time.
_one_at_a_time = threading.Lock()

ENVELOPE = ("device_id", "session_id", "timestamp", "metadata")
DATA = ("sample_rate", "channels", "layout")


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """Samples, and where the sender says they belong.

    Parameters
    ----------
    device_id, session_id : str
        Public ids, unchecked.
    time_ns : int
        When ``data[:, 0]`` was taken, in nanoseconds since the Unix epoch.
    sfreq : float
        Sampling frequency, in Hz.
    data : ndarray of float32, shape (n_channels, n_times)
        Microvolts, finite.
    metadata : dict
        Whatever the sender wants to keep with them.
    """

    device_id: str
    session_id: str
    time_ns: int
    sfreq: float
    data: NDArray[np.float32]
    metadata: dict[str, Any]


def read_submission(body: bytes, *, media_type: str, query: Mapping[str, str]) -> Submission:
    """Read and check a request to ingest samples.

    Parameters
    ----------
    body : bytes
        As it came.
    media_type : str
        One of `FORMS`.
    query : mapping of str to str
        The URL's query.

    Returns
    -------
    Submission
        Checked for itself; whether it fits its session is for the service to say.

    Raises
    ------
    MalformedJSONError, InvalidIngestionError, InvalidArrayError
        Naming every field that is missing or wrong.
    """
    is_large = media_type == JSON and len(body) > LARGE_JSON_BYTES
    with _one_at_a_time if is_large else nullcontext():
        return _read(body, media_type, query)


def _read(body: bytes, media_type: str, query: Mapping[str, str]) -> Submission:
    if media_type == JSON:
        fields, where = _of_json(body), "data."
        names = [*ENVELOPE, *(where + name for name in DATA), "data.eeg"]
    else:
        fields, where = _of_query(query), ""
        names = [*ENVELOPE, *DATA]
    checked = _check(fields, names, where)
    form = {"n_channels": checked["channels"]}
    if media_type == ARROW:
        data = arrays.from_arrow(body, **form)
    else:
        form["layout"] = checked["layout"]
        is_json = media_type == JSON
        data = (
            arrays.from_rows(fields.get("data.eeg"), **form)
            if is_json
            else arrays.from_npy(body, **form)
        )
    _check_end(checked["timestamp"], data.shape[1] / checked["sample_rate"])
    return Submission(
        device_id=checked["device_id"],
        session_id=checked["session_id"],
        time_ns=checked["timestamp"],
        sfreq=checked["sample_rate"],
        data=data,
        metadata=checked["metadata"],
    )


def _of_json(body: bytes) -> dict[str, Any]:
    """Return the fields of a JSON body, those of ``data`` with their prefix."""
    whole = loads(body, apart="data")
    data = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(data, dict):
        raise InvalidIngestionError(
            "The body must be a JSON object with an object called data in it",
            fields={"data": ["Must be an object with eeg, sample_rate and channels."]},
        )
    check_value({name: value for name, value in data.items() if name != "eeg"}, body)
    fields = {name: value for name, value in whole.items() if name != "data"}
    return fields | {f"data.{name}": value for name, value in data.items()}


def _of_query(query: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a query, numbers and objects made of their texts where they can be."""
    fields: dict[str, Any] = dict(query)
    for name in ("sample_rate", "channels", "metadata"):
        if name in fields:
            try:
                fields[name] = loads(fields[name].encode())
            except InvalidError:
                continue  # the text itself is shown as what is wrong
    return fields


def _check(fields: Mapping[str, Any], names: list[str], where: str) -> dict[str, Any]:
    """Return the fields by their bare names, all but the samples themselves.

    Raises
    ------
    InvalidIngestionError
        Naming all that are wrong.
    """
    problems = {
        name: [f"Is not known here; what is: {', '.join(names)}."]
        for name in fields
        if name not in names
    }
    checked = {}
    for bare, check in _CHECKS.items():
        name = bare if bare in ENVELOPE else where + bare
        try:
            checked[bare] = check(fields.get(name))
        except ValueError as error:
            problems[name] = [str(error)]
    if problems:
        told = "; ".join(f"{name}: {texts[0]}" for name, texts in problems.items())
        raise InvalidIngestionError(f"The request is not valid: {told}", fields=problems)
    return checked


def _check_end(time_ns: int, seconds: float) -> None:
    """Raise if samples go on for longer than times can be told."""
    if time_ns + seconds * 1e9 > LATEST_NS:
        problem = f"The samples go on for {seconds:g} s from there, beyond what can be stored."
        raise InvalidIngestionError(f"timestamp: {problem}", fields={"timestamp": [problem]})


def _id(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_LENGTH:
        raise ValueError(f"Must be the id as text, not {value!r:.50}.")
    return value


def _sfreq(value: Any) -> float:
    if type(value) not in {int, float} or not MIN_SFREQ <= value <= MAX_SFREQ:
        raise ValueError(
            f"Must be a number of Hz from {MIN_SFREQ:g} to {MAX_SFREQ:g}, not {value!r:.50}."
        )
    return float(value)


def _channels(value: Any) -> int:
    if type(value) is not int or not 0 < value <= MAX_CHANNELS:
        raise ValueError(
            f"Must be how many channels there are, 1-{MAX_CHANNELS}, not {value!r:.50}."
        )
    return value


def _layout(value: Any) -> Layout | None:
    known = [layout.value for layout in Layout]
    if value is not None and value not in known:
        raise ValueError(f"Must be {' or '.join(known)}, not {value!r:.50}.")
    return None if value is None else Layout(value)


def _metadata(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"Must be an object, not {value!r:.50}.")
    return value or {}


_CHECKS = {
    "device_id": _id,
    "session_id": _id,
    "timestamp": to_ns,
    "sample_rate": _sfreq,
    "channels": _channels,
    "layout": _layout,
    "metadata": _metadata,
}
