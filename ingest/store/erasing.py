"""Delete samples for good, where a subject withdrew: not pruned but erased, and said so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.models import F, Sum

from ingest.models import Block, Gap, QualityWindow, Stream
from ingest.store import codec
from ingest.store.reader import blocks_between, gaps_between
from neurascale.core.chunk import GapReason

Stretch = tuple[int, int]  # first sample, and the first one after it


def erase(stream: Stream, start: int, stop: int) -> int:
    """Delete the samples of a stretch, and leave a gap with the reason ``withdrawn``.

    A block that is only partly in the stretch keeps the rest, bit by bit as it was. The caller has
    a transaction.

    Parameters
    ----------
    stream : Stream
        May be running: what is after its newest sample is not touched.
    start, stop : int
        First sample, and the first sample after the stretch.

    Returns
    -------
    int
        How many samples a channel were stored and are not any more.
    """
    stop = min(stop, stream.next_sample)
    if start >= stop:
        return 0
    inside = Block.objects.filter(
        stream=stream, first_sample__gte=start, first_sample__lte=stop - F("n_times")
    )
    erased = inside.aggregate(total=Sum("n_times"))["total"] or 0
    inside.delete()
    # What is left of the stretch are the ends of it, in a block or two.
    erased += sum(_cut(stream, block, start, stop) for block in blocks_between(stream, start, stop))
    QualityWindow.objects.filter(
        stream=stream, first_sample__lt=stop, first_sample__gt=start - F("n_times")
    ).delete()
    for gap in gaps_between(stream, start, stop):
        gap.delete()
        rest = [(gap.first_sample, start), (stop, gap.first_sample + gap.n_times)]
        Gap.objects.bulk_create(
            Gap(stream=stream, first_sample=begin, n_times=end - begin, reason=gap.reason)
            for begin, end in rest
            if begin < end
        )
    Gap.objects.create(
        stream=stream, first_sample=start, n_times=stop - start, reason=GapReason.WITHDRAWN.value
    )
    return erased


def _cut(stream: Stream, block: Block, start: int, stop: int) -> int:
    """Delete the part of a block that is in a stretch; return how many samples that were."""
    end = block.first_sample + block.n_times
    begin, finish = max(block.first_sample, start), min(end, stop)
    rest = [(block.first_sample, begin), (finish, end)]
    pieces = [_piece(stream, block, *part) for part in rest if part[0] < part[1]]
    if len(pieces) == 2:
        pieces[1].sequence = None  # a packet has one number, and its first part keeps it
    block.delete()
    Block.objects.bulk_create(pieces)
    return finish - begin


def _piece(stream: Stream, block: Block, begin: int, end: int) -> Block:
    """Return a part of a block as a block."""
    part = slice(begin - block.first_sample, end - block.first_sample)
    data = codec.decode(block.payload, stream.scale_uv)[:, part]
    aux = None if block.aux is None else codec.decode(block.aux, None)[:, part]
    return Block(
        stream=stream,
        first_sample=begin,
        n_times=end - begin,
        sequence=block.sequence,
        time_ns=block.time_ns + round((begin - block.first_sample) * 1e9 / stream.sfreq),
        payload=codec.encode(data, stream.scale_uv),
        aux=None if aux is None else codec.encode(aux, None),
    )


def without(stretches: Iterable[Stretch], kept: Iterable[Stretch]) -> Iterator[Stretch]:
    """Yield what of some stretches is in none of others, in order and without overlap."""
    edges = sorted(kept)
    reached = 0
    for start, stop in sorted(stretches):
        at = max(start, reached)
        for first, last in edges:
            if last <= at or first >= stop:
                continue
            if at < first:
                yield at, first
            at = max(at, last)
        if at < stop:
            yield at, stop
        reached = max(reached, stop)
