"""What was promised, held against what is stored and against what the board says it sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from devices.virtual.truth import Truth
from ingest.models import Block, Gap, Segment, Stream
from ingest.store import iter_chunks, read
from sessions_app.models import Event
from tests.torture.witness import Uploader, Witness


def judge_stream(stream: Stream, truth_path: Path) -> dict[str, Any]:
    """Count every sample of a stream.

    Raises
    ------
    AssertionError
        If a sample is missing without a gap, stored twice, or not what the board sent.
    """
    spans = [(b.first_sample, b.n_times) for b in Block.objects.filter(stream=stream)]
    gaps = [(g.first_sample, g.n_times) for g in Gap.objects.filter(stream=stream)]
    end = 0
    for first, length in sorted(spans + gaps):
        assert first == end, f"sample {end} is neither stored nor missing (next: {first})"
        end = first + length
    assert end == stream.next_sample
    sequences = Block.objects.filter(stream=stream).order_by("first_sample")
    numbers = list(sequences.values_list("sequence", flat=True))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "packet numbers jump"

    sent = Truth.read(truth_path)
    scale = np.asarray(stream.scale_uv)[:, None]
    offset = None
    for _, chunk in iter_chunks(stream):
        counts = np.rint(chunk.data / scale).astype(np.int64)
        if offset is None:
            matches = np.flatnonzero((sent.counts.T[:50] == counts[:, 0]).all(axis=1))
            assert matches.size == 1, "the first sample is not one of the first that were sent"
            offset = int(matches[0]) - chunk.first_sample
        begin = chunk.first_sample + offset
        expected = sent.counts[:, begin : begin + chunk.n_times]
        assert np.array_equal(counts, expected), (
            f"samples {chunk.first_sample} to {chunk.stop_sample - 1} are not what was sent then"
        )
    assert offset is not None, "nothing was stored"
    return {
        "samples": end,
        "stored": sum(length for _, length in spans),
        "missing": sum(length for _, length in gaps),
        "gaps": len(gaps),
        "sent_after_the_end": sent.counts.shape[1] - offset - end,
    }


def judge_witness(witness: Witness, stream: Stream) -> dict[str, Any]:
    """Hold what a subscriber was shown against the store; every packet once, and the same."""
    assert not witness.repeated, f"shown twice: {witness.repeated[:5]}"
    stored = dict(iter_chunks(stream))
    lost = [sequence for sequence in witness.shown if sequence not in stored]
    assert not lost, f"shown and not stored: {lost[:5]}"
    for sequence, packet in witness.shown.items():
        chunk = stored[sequence]
        assert packet.first_sample == chunk.first_sample
        assert np.allclose(packet.samples.T, chunk.data, rtol=1e-6, atol=1e-4), sequence
    unseen = sorted(set(range(min(witness.shown), max(witness.shown))) - set(witness.shown))
    assert not unseen, f"stored, and never shown to a subscriber that came back: {unseen[:5]}"
    events = dict(Event.objects.values_list("public_id", "sample"))
    for event_id, sample in witness.markers.items():
        assert events.get(event_id) == sample, f"marker {event_id} was acknowledged at {sample}"
    return {
        "shown": len(witness.shown),
        "markers": len(witness.markers),
        "connections": witness.n_connections,
    }


def judge_uploader(uploader: Uploader) -> dict[str, Any]:
    """Hold what was acknowledged against the store: all of it, once, in order."""
    segments = Segment.objects.filter(session__public_id=uploader.session_id).select_related(
        "stream"
    )
    stored = [
        read(segment.stream, segment.first_sample, segment.stream.next_sample).data
        for segment in segments
    ]
    found = np.concatenate(stored, axis=1)
    found = found[:, ~np.isnan(found).any(axis=0)]
    sent = np.concatenate([np.asarray(eeg, np.float32) for eeg in uploader.sent], axis=1)
    assert np.array_equal(found, sent), f"{found.shape} stored, {sent.shape} acknowledged"
    return {"requests": len(uploader.answers), "ingested": sent.shape[1]}
