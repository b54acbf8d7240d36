"""One filter, one file: live microvolts in, filtered microvolts out, sample by sample.

Rule of this package: no Django, no clocks. A filter is causal, remembers where it stopped and
leaves its input alone. SciPy takes long to import, so the files that need it are imported when a
filter is first asked for: a process that filters nothing never pays for it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ingest.errors import InvalidFilterError
from neurascale.core.registry import Registry, UnknownPluginError

if TYPE_CHECKING:
    from ingest.filters.sos import SosFilter

filters: Registry[Callable[..., SosFilter]] = Registry(__name__)


def chain(filters_wire: Mapping[str, Any] | None, *, sfreq: float) -> SosFilter | None:
    """Build the one filter that does everything a request asks for.

    Parameters
    ----------
    filters_wire : mapping of str to number, list or mapping, or None
        As it is on the wire: ``{"notch": 60, "bandpass": [1, 50]}``. A number is the filter's
        one argument, a list its arguments in the order of the plug-in's ``example``, a mapping
        its keywords: ``{"notch": {"frequency": 60, "quality": 10}}``. The arguments of the
        ``example`` must be there, others may.
    sfreq : float
        Sampling frequency of the stream, in Hz.

    Returns
    -------
    SosFilter or None
        The sections of all filters as one cascade, in alphabetical order of their names: for
        linear filters the order changes nothing, and a database need not keep the order of keys.
        None if nothing is asked for.

    Raises
    ------
    InvalidFilterError
        If a filter is unknown, or its arguments cannot be met at ``sfreq``.
    """
    if not isinstance(filters_wire, Mapping | None):
        raise _refusal(f"filters must be an object of names and arguments, not {filters_wire!r}")
    parts = [
        _design(name, sfreq, _keywords(name, value))
        for name, value in sorted((filters_wire or {}).items())
    ]
    # Designs are shared between streams; a cascade of them has a memory of its own.
    return parts[0].followed_by(*parts[1:]) if parts else None


@lru_cache(maxsize=256)
def _design(name: str, sfreq: float, keywords: tuple[tuple[str, float], ...]) -> SosFilter:
    """Return one filter, whose memory nobody uses; designing it takes a millisecond."""
    try:
        return filters[name].make(sfreq=sfreq, **dict(keywords))
    except InvalidFilterError as error:
        raise _refusal(error.message, **error.details) from error


def _keywords(name: str, value: Any) -> tuple[tuple[str, float], ...]:
    """Return the keywords that a wire form means, checked against the plug-in's signature."""
    try:
        plugin = filters[name]
    except UnknownPluginError as error:
        known = ", ".join(filters.names)
        raise _refusal(f"There is no filter {name!r}; there are: {known}") from error
    if isinstance(value, Mapping):
        keywords = dict(value)
    else:
        positional = list(value) if isinstance(value, list | tuple) else [value]
        # Too few or too many: the names that are left over make the signature refuse them.
        names = [*plugin.example, *range(len(positional))][: len(positional)]
        keywords = dict(zip(names, positional, strict=True))
    accepted = inspect.signature(plugin.make).parameters.keys() - {"sfreq"}
    if not plugin.example.keys() <= keywords.keys() <= accepted:
        raise _refusal(
            f"{name} was asked for with {value!r}; ask like {_on_the_wire(plugin.example)}, "
            f"or with an object of {', '.join(sorted(accepted))}"
        )
    for keyword, number in keywords.items():
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or not math.isfinite(number):
            raise _refusal(f"{keyword} of {name} must be a finite number, not {number!r}")
    return tuple(sorted(keywords.items()))


def _on_the_wire(example: Mapping[str, Any]) -> Any:
    values = list(example.values())
    return values[0] if len(values) == 1 else values


def _refusal(message: str, **details: Any) -> InvalidFilterError:
    """Return the error that the API answers with."""
    return InvalidFilterError(message, **{"fields": {"filters": [message]}, **details})
