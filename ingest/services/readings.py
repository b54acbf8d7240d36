"""Which samples of a recording a request means, and how to read them in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.errors import InvalidStretchError
from ingest.store import Missing, Reading, Recording, sample_at, time_of
from ingest.store.reader import gaps_between
from ingest.store.recording import Part
from neurascale.core.audit import record
from sessions_app.models import Session


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stretch in which time runs evenly: between two pauses.

    Parameters
    ----------
    first_sample, n_times : int
        Where on the session's timeline.
    time_ns : int
        When its first sample was taken.
    stream_id : str
        Public id of the stream.
    stream_sample : int
        Index of its first sample in the stream.
    """

    first_sample: int
    n_times: int
    time_ns: int
    stream_id: str
    stream_sample: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive samples of a session's timeline, of some of its channels.

    Parameters
    ----------
    recording : Recording
        As it was when the stretch was asked for; later samples are not in it.
    start, stop : int
        First sample, and the first sample after the stretch.
    rows : tuple of int
        Rows of the recording, from 0.
    aux_names : tuple of str
        Accelerometer and analog inputs that were asked for and are there.
    """

    recording: Recording
    start: int
    stop: int
    rows: tuple[int, ...]
    aux_names: tuple[str, ...] = ()

    @property
    def n_times(self) -> int:
        """Length in samples."""
        return self.stop - self.start

    @property
    def n_rows(self) -> int:
        """Channels, and accelerometer and analog inputs if asked for."""
        return len(self.rows) + len(self.aux_names)

    @property
    def picks(self) -> list[int]:
        """Channels of the device, from 0, in row order."""
        return [self.recording.picks[row] for row in self.rows]

    @property
    def ch_names(self) -> list[str]:
        """Names of the channels, in row order."""
        return [self.recording.ch_names[row] for row in self.rows]

    def head(self, max_values: int) -> Stretch:
        """Return the beginning of the stretch that has no more values than that."""
        n_times = max(max_values // self.n_rows, 1)
        return replace(self, stop=min(self.stop, self.start + n_times))

    def read(self) -> Reading:
        """Read all of it."""
        return self.recording.read(self.start, self.stop, picks=self.rows)

    def read_in_pieces(self, max_values: int) -> Iterator[NDArray[np.float32]]:
        """Read it a bounded number of values at a time.

        Yields
        ------
        ndarray of float32, shape (n_rows, n_times of the piece)
            Microvolts; below them accelerometer (g) and analog inputs (V) if asked for. NaN where
            samples are missing.
        """
        left = self
        while left.n_times:
            piece = left.head(max_values)
            reading = piece.read()
            if self.aux_names and reading.aux is not None:
                yield np.concatenate([reading.data, reading.aux])
            else:
                yield reading.data
            left = replace(left, start=piece.stop)

    def pieces(self) -> list[Piece]:
        """Return where time runs evenly: one piece unless the session paused or began anew."""
        return [
            Piece(
                first_sample=begin,
                n_times=end - begin,
                time_ns=time_of(part.stream, part.first_sample + begin - part.start),
                stream_id=part.stream.public_id,
                stream_sample=part.first_sample + begin - part.start,
            )
            for part, begin, end in self._parts()
        ]

    def gaps(self) -> list[Missing]:
        """Return what is missing, without reading the rest."""
        missing = []
        for part, begin, end in self._parts():
            shift = part.start - part.first_sample
            rows = gaps_between(part.stream, begin - shift, end - shift)
            for first, n_times, reason in rows.values_list("first_sample", "n_times", "reason"):
                at, stop = max(first + shift, begin), min(first + shift + n_times, end)
                missing.append(Missing(at, stop - at, reason))
        return missing

    def state(self) -> list[Any]:
        """Return what the stretch is a function of, as JSON values: which stored samples it is."""
        places = [
            (part.stream.public_id, begin - part.start + part.first_sample, begin, end)
            for part, begin, end in self._parts()
        ]
        rows = [self.picks, self.ch_names, self.aux_names, self.recording.sfreq]
        return [self.start, self.stop, rows, places]

    def _parts(self) -> Iterator[tuple[Part, int, int]]:
        """Yield each part that is touched, and where on the timeline."""
        for part in self.recording.parts:
            begin, end = max(self.start, part.start), min(self.stop, part.stop)
            if begin < end:
                yield part, begin, end


def note_export(stretch: Stretch, *, session: Session, form: str) -> None:
    """Note in the audit log that samples are given out."""
    record("session.export", session, form=form, start=stretch.start, stop=stretch.stop)


def find_stretch(
    *,
    session: Session,
    picks: Sequence[int] | None = None,
    start: int | None = None,
    stop: int | None = None,
    start_ns: int | None = None,
    stop_ns: int | None = None,
    tmin: float | None = None,
    tmax: float | None = None,
    with_aux: bool = False,
) -> Stretch:
    """Find the samples of a session that a request means; all of them by default.

    Parameters
    ----------
    session : Session
        What was recorded.
    picks : sequence of int, optional
        Channels of the device, from 0, in the order of the answer.
    start, stop : int, optional
        Samples of the session's timeline; the last one is not included.
    start_ns, stop_ns : int, optional
        Moments, in nanoseconds since the Unix epoch, instead of samples. In a pause: the sample
        after it.
    tmin, tmax : float, optional
        Seconds on the session's timeline, where pauses take no time, instead of samples.
    with_aux : bool
        Also accelerometer and analog inputs, if all of the recording has the same.

    Returns
    -------
    Stretch
        Cut to what is recorded; may be empty.

    Raises
    ------
    InvalidStretchError
        If a channel was not recorded, or the end comes before the beginning.
    SessionStateError
        If nothing was recorded.
    """
    recording = Recording.of(session)
    sfreq = recording.sfreq
    start = _sample(recording, sfreq, start, start_ns, tmin, default=0)
    end = max(start, recording.n_times)
    stop = _sample(recording, sfreq, stop, stop_ns, tmax, default=end)
    if stop < start:
        raise InvalidStretchError(
            f"The stretch asked for ends at sample {stop}, before it begins at sample {start}",
            fields={"stop": [f"Must be {start} or more."]},
        )
    aux_names = {tuple(part.stream.aux_names) for part in recording.parts}
    return Stretch(
        recording,
        min(start, recording.n_times),
        min(stop, recording.n_times),
        _rows(recording, picks),
        aux_names.pop() if with_aux and len(aux_names) == 1 else (),
    )


def _sample(
    recording: Recording,
    sfreq: float,
    sample: int | None,
    time_ns: int | None,
    seconds: float | None,
    *,
    default: int,
) -> int:
    """Return the sample of the timeline that one of three ways to say it means."""
    if sample is not None:
        return sample
    if seconds is not None:
        return round(seconds * sfreq)
    return default if time_ns is None else _sample_at(recording, time_ns)


def _sample_at(recording: Recording, time_ns: int) -> int:
    """Return the nearest sample of the timeline; in a pause the first one after it."""
    for part in recording.parts:
        if not part.n_times or time_ns >= time_of(part.stream, part.stop_sample):
            continue
        if time_ns <= time_of(part.stream, part.first_sample):
            return part.start
        sample = sample_at(part.stream, time_ns)
        inside = part.stop_sample if sample is None else min(sample, part.stop_sample)
        return part.start + max(inside - part.first_sample, 0)
    return recording.n_times


def _rows(recording: Recording, picks: Sequence[int] | None) -> tuple[int, ...]:
    """Return the rows of a recording that hold channels of the device."""
    if picks is None:
        return tuple(range(len(recording.picks)))
    unknown = [pick + 1 for pick in picks if pick not in recording.picks]
    if unknown or not picks or len(set(picks)) < len(picks):
        recorded = [pick + 1 for pick in recording.picks]
        raise InvalidStretchError(
            f"Channels {[pick + 1 for pick in picks]} were asked for; the session recorded "
            f"{recorded}",
            fields={"channels": [f"Each once, of {recorded}."]},
        )
    return tuple(recording.picks.index(pick) for pick in picks)
