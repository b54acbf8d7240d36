"""A session as one recording: its segments of one or several streams, end to end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from django.db.models import Count, F

from ingest.errors import NoSuchSampleError
from ingest.models import QualityWindow, Segment, Stream
from ingest.quality import overall
from ingest.store.gaps import Missing
from ingest.store.reader import Reading, gaps_between, read
from sessions_app.errors import SessionStateError
from sessions_app.models import Session


@dataclass(frozen=True, slots=True)
class Part:
    """One segment on the session's timeline.

    Parameters
    ----------
    stream : Stream
        What it is a part of.
    first_sample, stop_sample : int
        Where it begins and ends in the stream.
    start : int
        Where it begins on the session's timeline.
    end : int or None
        Where the segment ends in the stream, stored or not; None while it is recording.
    """

    stream: Stream
    first_sample: int
    stop_sample: int
    start: int
    end: int | None

    @property
    def n_times(self) -> int:
        """Length in samples."""
        return self.stop_sample - self.first_sample

    @property
    def stop(self) -> int:
        """Where it ends on the session's timeline."""
        return self.start + self.n_times


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of a recording, from what is stored.

    Parameters
    ----------
    data_points : int
        Samples per channel that are stored: those missing in gaps are not counted.
    duration_seconds : float
        Length of the timeline, gaps included, pauses not.
    artifact_percentage : float or None
        Share of the judged seconds in which any channel had an artefact; None if none was judged.
    signal_quality : str or None
        `ingest.quality.overall` of all channels in all judged seconds.
    """

    data_points: int
    duration_seconds: float
    artifact_percentage: float | None
    signal_quality: str | None


class Recording:
    """What a session has recorded so far.

    The timeline counts samples from 0 at the start. Gaps are part of it; a pause is not: there the
    next segment follows at once, and only the times tell. A segment that is still open ends with
    what its stream has stored when the recording is made.

    Parameters
    ----------
    parts : sequence of Part
        The segments on the timeline, in order; `of` finds them.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)

    @classmethod
    def of(cls, session: Session) -> Recording:
        """Return what a session has recorded so far."""
        return cls.of_all([session.pk])[session.pk]

    @classmethod
    def of_all(cls, sessions: Collection[int]) -> dict[int, Recording]:
        """Return what several sessions have recorded so far, by their primary keys: one query."""
        parts: dict[int, list[Part]] = {session: [] for session in sessions}
        segments = Segment.objects.filter(session__in=sessions).select_related("stream")
        for segment in segments.order_by("pk"):
            stop, end = segment.stream.next_sample, segment.stop_sample
            if end is not None:
                stop = min(stop, end)
            before = parts[segment.session_id]
            start = before[-1].stop if before else 0
            first = segment.first_sample
            before.append(Part(segment.stream, first, max(stop, first), start, end))
        return {session: cls(found) for session, found in parts.items()}

    @property
    def n_times(self) -> int:
        """Length of the timeline, in samples."""
        return self.parts[-1].stop if self.parts else 0

    @property
    def sfreq(self) -> float:
        """Sampling frequency, in Hz.

        Raises
        ------
        SessionStateError
            If nothing was recorded, or not everything at the same rate.
        """
        rates = sorted({part.stream.sfreq for part in self.parts})
        if not rates:
            raise SessionStateError(
                "The session has not recorded anything yet",
                suggestion="Start it, or send it samples: POST /v1/ingest/neural-data.",
            )
        if len(rates) > 1:
            found = " and ".join(f"{rate:g}" for rate in rates)
            raise SessionStateError(
                f"The session recorded at {found} Hz, which makes no single array",
                suggestion="Record at each rate in a session of its own.",
            )
        return rates[0]

    @cached_property
    def _channels(self) -> dict[int, str]:
        """Names by channel of the device, in order of channel."""
        names: dict[int, str] = {}
        for part in self.parts:
            names |= dict(zip(part.stream.picks, part.stream.ch_names, strict=True))
        return dict(sorted(names.items()))

    @property
    def picks(self) -> list[int]:
        """Channels of the device, from 0, that any segment recorded: the rows of `read`."""
        return list(self._channels)

    @property
    def ch_names(self) -> list[str]:
        """Their names."""
        return list(self._channels.values())

    def read(self, start: int, stop: int, *, picks: Sequence[int] | None = None) -> Reading:
        """Read a stretch of the timeline.

        Parameters
        ----------
        start, stop : int
            First sample, and the first sample after the stretch; what lies outside the recording
            is left out.
        picks : sequence of int, optional
            Rows of the recording, from 0; all by default.

        Returns
        -------
        Reading
            On the session's timeline. A channel that a segment did not record is NaN there, without
            a gap. ``aux`` is None unless all segments have the same.

        Raises
        ------
        SessionStateError
            If segments were recorded at different rates, or there are none.
        IndexError
            If ``picks`` names a row that is not there.
        """
        sfreq = self.sfreq
        start = max(start, 0)
        stop = max(min(stop, self.n_times), start)
        wanted = np.array(self.picks)[slice(None) if picks is None else list(picks)]
        has_aux = len({tuple(part.stream.aux_names) for part in self.parts}) == 1
        n_aux = len(self.parts[0].stream.aux_names) if has_aux else 0
        data = np.full((len(wanted), stop - start), np.nan, dtype=np.float32)
        aux = np.full((n_aux, stop - start), np.nan, dtype=np.float32) if n_aux else None
        time_ns: int | None = None
        gaps: list[Missing] = []
        for part in self.parts:
            begin, end = max(start, part.start), min(stop, part.stop)
            if begin >= end:
                continue
            shift = part.start - part.first_sample
            rows = {channel: row for row, channel in enumerate(part.stream.picks)}
            here = [i for i, channel in enumerate(wanted) if channel in rows]
            reading = read(
                part.stream, begin - shift, end - shift, picks=[rows[wanted[i]] for i in here]
            )
            place = slice(begin - start, end - start)
            data[here, place] = reading.data
            if aux is not None:
                aux[:, place] = reading.aux
            gaps += [replace(gap, first_sample=gap.first_sample + shift) for gap in reading.gaps]
            time_ns = reading.time_ns if time_ns is None else time_ns
        return Reading(data, aux, sfreq, start, time_ns, tuple(gaps))

    def sample_of(self, stream_public_id: str, stream_sample: int) -> int | None:
        """Return where a sample of a stream lies on the timeline, or None if it is not on it.

        It may be one that is still to be stored: of this moment, in a segment that is recording.
        """
        for part in self.parts:
            inside = part.first_sample <= stream_sample and (
                part.end is None or stream_sample < part.end
            )
            if inside and part.stream.public_id == stream_public_id:
                return part.start + stream_sample - part.first_sample
        return None

    def position_of(self, sample: int) -> tuple[Stream, int]:
        """Return the stream, and the sample in it, that a sample of the timeline is.

        Raises
        ------
        NoSuchSampleError
            If the session has not recorded it.
        """
        for part in self.parts:
            if part.start <= sample < part.stop:
                return part.stream, part.first_sample + sample - part.start
        raise NoSuchSampleError(
            f"Sample {sample} was asked for; the session has recorded samples 0 to "
            f"{self.n_times - 1}",
            fields={"sample": [f"Must be from 0 to {self.n_times - 1}."]},
        )

    def summary(self) -> Summary:
        """Return the numbers of the recording."""
        windows = (window for part in self.parts for window in _windows_in(part))
        return self.summed_up(n_missing=sum(map(_n_missing, self.parts)), windows=windows)

    def summed_up(
        self, *, n_missing: int, windows: Iterable[tuple[list[str], bool, int]]
    ) -> Summary:
        """Return the numbers of the recording, from what was counted.

        Parameters
        ----------
        n_missing : int
            Samples of the timeline that are in gaps.
        windows : iterable of (verdicts, has_artifact, n_windows)
            The different judgements on seconds inside a part, and how often each came.
        """
        judged = artifacts = 0
        words: Counter[str] = Counter()
        for verdicts, has_artifact, n_windows in windows:
            judged += n_windows
            artifacts += n_windows * has_artifact
            for verdict in verdicts:
                words[verdict] += n_windows
        return Summary(
            data_points=self.n_times - n_missing,
            duration_seconds=sum(part.n_times / part.stream.sfreq for part in self.parts),
            artifact_percentage=100 * artifacts / judged if judged else None,
            signal_quality=overall(words.elements()),
        )


def extents(sessions: Sequence[Session]) -> list[Any]:
    """Return how much of each session is stored, in one query, as JSON values.

    Blocks, gaps and verdicts are written in the transaction that moves their stream's
    ``next_sample``, and those of a session's segments are never deleted before it is: while this
    stays the same, so does every number of the recording.
    """
    segments = Segment.objects.filter(session__in=[session.pk for session in sessions])
    found: dict[int, list[Any]] = {session.pk: [] for session in sessions}
    for session, pk, first, stop, stored in segments.order_by("pk").values_list(
        "session_id", "pk", "first_sample", "stop_sample", "stream__next_sample"
    ):
        found[session].append((pk, first, stop, stored if stop is None else min(stored, stop)))
    return list(found.values())


def _n_missing(part: Part) -> int:
    """Return how many samples of a part are missing: all that is not a gap is stored."""
    gaps = gaps_between(part.stream, part.first_sample, part.stop_sample)
    return sum(
        min(first + n_times, part.stop_sample) - max(first, part.first_sample)
        for first, n_times in gaps.values_list("first_sample", "n_times")
    )


def _windows_in(part: Part) -> list[tuple[list[str], bool, int]]:
    """Return the different judgements on seconds wholly inside a part, and how often each came."""
    return list(
        QualityWindow.objects.filter(stream=part.stream, first_sample__gte=part.first_sample)
        .filter(first_sample__lte=part.stop_sample - F("n_times"))
        .order_by()
        .values_list("verdicts", "has_artifact")
        .annotate(n_windows=Count("pk"))
    )
