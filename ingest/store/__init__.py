"""The stored stream: chunks to rows and back, unfiltered, to the last bit.

One package for all who write and read samples; nobody else touches the tables `Block` and `Gap`.
"""

from ingest.store.erasing import erase, without
from ingest.store.gaps import PRUNED, Missing
from ingest.store.pruning import prune
from ingest.store.reader import Reading, iter_chunks, read
from ingest.store.recording import Recording, Summary, extents
from ingest.store.times import sample_at, time_if_any, time_of
from ingest.store.writer import BlockWriter, Stored

__all__ = [
    "PRUNED",
    "BlockWriter",
    "Missing",
    "Reading",
    "Recording",
    "Stored",
    "Summary",
    "erase",
    "extents",
    "iter_chunks",
    "prune",
    "read",
    "sample_at",
    "time_if_any",
    "time_of",
    "without",
]
