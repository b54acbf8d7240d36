"""What a client says on `/v1/stream`: JSON in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest.messages import View
from ingest.subscription import LIVE, REPLAY
from ingest.wire import LATEST_NS, RANGE
from neurascale.core.errors import InvalidError
from neurascale.core.wire import loads

FORMATS = ("json", "msgpack")
ON_LAG = (REPLAY, LIVE)
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Wish:
    """What a subscriber wants.

    Parameters
    ----------
    view : View
        What of the packets, and in which form.
    on_lag : str
        What after having been too slow.
    after_sequence : int or None
        Number of the last packet it has.
    """

    view: View
    on_lag: str
    after_sequence: int | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that a client wants to mark.

    Parameters
    ----------
    label : str
        What happened.
    value : any
        JSON value that belongs to it.
    time_ns : int or None
        When, on the server's wall clock, in nanoseconds since the Unix epoch; None is now.
    """

    label: str
    value: Any
    time_ns: int | None


def read_message(text: str | None) -> dict[str, Any]:
    """Return the message that a frame holds.

    Raises
    ------
    InvalidError
        If it is no JSON object, or a binary frame.
    """
    if text is None:
        raise InvalidError(
            "A binary frame came", suggestion="Send messages as JSON in text frames."
        )
    message = loads(text.encode())
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise InvalidError(
            "A message is a JSON object with a type", fields={"type": ["Must be a text."]}
        )
    return message


def device_id_of(message: Mapping[str, Any]) -> str:
    """Return which device a message is about.

    Raises
    ------
    InvalidError
        If it does not say.
    """
    return _text(message, "device_id")


def token_of(message: Mapping[str, Any]) -> str:
    """Return the token of an ``auth`` message.

    Raises
    ------
    InvalidError
        If there is none.
    """
    return _text(message, "token")


def read_wish(message: Mapping[str, Any], *, n_channels: int) -> Wish:
    """Return what a ``subscribe`` message asks for; what it leaves out has a default.

    Parameters
    ----------
    message : mapping
        As it came.
    n_channels : int
        Of the device.

    Raises
    ------
    InvalidError
        If something in it cannot be; the message says what could.
    """
    filtered = message.get("filtered", True)
    if not isinstance(filtered, bool):
        raise _invalid("filtered", filtered, "Must be true or false.")
    return Wish(
        view=View(
            channels=_channels(message.get("channels"), n_channels),
            filtered=filtered,
            format=_one_of(message, "format", FORMATS),
        ),
        on_lag=_one_of(message, "on_lag", ON_LAG),
        after_sequence=_after_sequence(message.get("after_sequence")),
    )


def read_mark(message: Mapping[str, Any]) -> Mark:
    """Return what a ``marker`` message asks for.

    Raises
    ------
    InvalidError
        If it has no label, or its time is none.
    """
    label = _text(message, "label")
    if len(label) > 200:
        raise _invalid("label", label[:20] + "…", "Must have at most 200 characters.")
    timestamp = message.get("timestamp")
    if timestamp is not None and not _is_number(timestamp):
        raise _invalid("timestamp", timestamp, "Must be milliseconds since the epoch.")
    if timestamp is not None and not 0 <= timestamp < LATEST_NS / 1e6:
        raise _invalid("timestamp", timestamp, f"Must be of a time {RANGE}, in milliseconds.")
    time_ns = None if timestamp is None else round(timestamp * 1e6)
    return Mark(label=label, value=message.get("value"), time_ns=time_ns)


def _channels(asked: Any, n_channels: int) -> tuple[int, ...] | None:
    if asked is None:
        return None
    known = f"Each is one of 1 to {n_channels}, once."
    if not isinstance(asked, list) or not asked:
        raise _invalid("channels", asked, known)
    unknown = [c for c in asked if isinstance(c, bool) or c not in range(1, n_channels + 1)]
    if unknown:
        raise _invalid("channels", unknown, known)
    if len(set(asked)) < len(asked):
        raise _invalid("channels", asked, known)
    return tuple(int(channel) for channel in asked)


def _after_sequence(asked: Any) -> int | None:
    is_integer = isinstance(asked, int) and not isinstance(asked, bool)
    if asked is not None and not (is_integer and -1 <= asked < LARGEST):
        problem = "Must be the number of the last packet that came, or -1 for all that is kept."
        raise _invalid("after_sequence", asked, problem)
    return asked  # type: ignore[no-any-return]


def _one_of(message: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    """Return a choice; the first one if there is none."""
    asked = message.get(name, known[0])
    if asked not in known:
        raise _invalid(name, asked, f"Must be {' or '.join(known)}.")
    return str(asked)


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(name, value, "Must be a text.")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _invalid(name: str, asked: Any, problem: str) -> InvalidError:
    found = "is missing" if asked is None else f"cannot be {asked!r}"
    return InvalidError(f"{name} {found}. {problem}", fields={name: [problem]})
