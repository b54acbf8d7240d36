"""Streams, the blocks they are stored in, the gaps between them, and what a session took."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q

from devices.models import Device
from neurascale.core.chunk import GapReason
from neurascale.core.models import Client, PublicIdField
from sessions_app.models import Session


class Stream(models.Model):
    """One run of one device, from start to stop, through crashes and unplugged cables.

    ``wanted`` says what people asked for, ``state`` what is; the reconciler brings the second to
    the first. ``next_sample`` is the high-water mark: everything before it is stored or a gap.
    """

    class Origin(models.TextChoices):
        """Where samples come from."""

        BOARD = "board"
        INGEST = "ingest"

    class Wanted(models.TextChoices):
        """What people asked for."""

        RUNNING = "running"
        STOPPED = "stopped"

    class State(models.TextChoices):
        """What is."""

        STARTING = "starting"
        RUNNING = "running"
        RECONNECTING = "reconnecting"
        STOPPED = "stopped"
        FAILED = "failed"

    public_id = PublicIdField(prefix="strm_")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="streams")
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.BOARD)
    wanted = models.CharField(max_length=10, choices=Wanted, default=Wanted.RUNNING)
    state = models.CharField(max_length=15, choices=State, default=State.STARTING)
    error = models.JSONField(null=True)

    sfreq = models.FloatField()
    picks = models.JSONField(help_text="Channels of the device, numbered from 0, in row order.")
    ch_names = models.JSONField()
    scale_uv = models.JSONField(
        null=True, help_text="Microvolts per count and channel; null: stored as float32."
    )
    aux_names = models.JSONField(default=list)
    filters = models.JSONField(default=dict, help_text="Applied to the broadcast copy only.")
    board_settings = models.JSONField(default=dict)
    chunk_ms = models.FloatField()

    next_sample = models.BigIntegerField(default=0)
    next_sequence = models.BigIntegerField(default=0)
    clock_offset_ns = models.BigIntegerField(
        null=True, help_text="Wall clock minus monotonic clock when the stream began."
    )
    boot_id = models.CharField(
        max_length=64, blank=True, help_text="The monotonic clock is comparable within one boot."
    )
    counter_phase = models.PositiveIntegerField(
        default=0, help_text="Sample index minus the board's counter, modulo its modulus."
    )
    lease_holder = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True)
    quality = models.JSONField(null=True, help_text="Verdict on the last whole second.")
    started_at = models.DateTimeField(auto_now_add=True)
    stopped_at = models.DateTimeField(null=True)
    kept_from_sample = models.BigIntegerField(
        default=0, help_text="Blocks before this sample were pruned, except a session's."
    )

    class Meta:
        ordering = ["-started_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["device"],
                condition=Q(wanted="running", origin="board"),
                name="one_active_stream_a_device",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @classmethod
    def of(
        cls,
        device: Device,
        *,
        picks: list[int],
        filters: dict[str, Any],
        chunk_ms: float,
    ) -> Stream:
        """Return an unsaved stream of a device's board; its packet numbers go on from the last."""
        board = device.make_board()
        last = cls.objects.filter(device=device, origin=cls.Origin.BOARD).order_by("-pk").first()
        return cls(
            device=device,
            sfreq=board.sfreq,
            picks=picks,
            ch_names=[board.ch_names[pick] for pick in picks],
            scale_uv=[float(board.scale_uv[pick]) for pick in picks],
            aux_names=list(board.aux_names),
            filters=filters,
            board_settings=device.settings,
            chunk_ms=chunk_ms,
            next_sequence=last.next_sequence if last else 0,
        )

    def successor(self) -> Stream:
        """Return an unsaved stream with the same settings, to go on in this one's place."""
        return Stream.of(
            self.device, picks=self.picks, filters=self.filters, chunk_ms=self.chunk_ms
        )


class Block(models.Model):
    """Consecutive samples as they came: never filtered, never changed."""

    # Not indexed on its own: a constraint begins with it.
    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="blocks", db_index=False
    )
    first_sample = models.BigIntegerField()
    n_times = models.PositiveIntegerField()
    sequence = models.BigIntegerField(null=True, help_text="Packet number of the device.")
    time_ns = models.BigIntegerField(help_text="When first_sample was taken, fitted clock.")
    payload = models.BinaryField(help_text="See ingest/store/codec.py.")
    aux = models.BinaryField(null=True)

    class Meta:
        ordering = ["stream", "first_sample"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["stream", "first_sample"], name="a_sample_is_stored_once"
            ),
            models.UniqueConstraint(fields=["stream", "sequence"], name="a_packet_is_stored_once"),
        ]

    def __str__(self) -> str:
        return f"{self.stream_id}:{self.first_sample}+{self.n_times}"


class Gap(models.Model):
    """Samples that are missing, and why."""

    # Not indexed on its own: a constraint begins with it.
    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="gaps", db_index=False
    )
    first_sample = models.BigIntegerField()
    n_times = models.BigIntegerField()
    reason = models.CharField(max_length=20, choices=[(r.value, r.value) for r in GapReason])

    class Meta:
        ordering = ["stream", "first_sample"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["stream", "first_sample"], name="a_gap_is_told_once"),
            models.CheckConstraint(condition=Q(n_times__gt=0), name="a_gap_has_a_length"),
        ]

    def __str__(self) -> str:
        return f"{self.n_times} samples {self.reason}"


class Segment(models.Model):
    """The part of a stream that a session recorded; a pause ends one, resuming begins another."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="segments")
    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="segments")
    first_sample = models.BigIntegerField()
    stop_sample = models.BigIntegerField(null=True, help_text="Null while it is recording.")

    class Meta:
        ordering = ["session", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["session"],
                condition=Q(stop_sample__isnull=True),
                name="one_open_segment_a_session",
            ),
            models.CheckConstraint(
                condition=Q(stop_sample__isnull=True) | Q(stop_sample__gte=F("first_sample")),
                name="a_segment_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id}: {self.first_sample}-{self.stop_sample or ''}"


class QualityWindow(models.Model):
    """What `ingest.quality` found in one second of stored signal."""

    # Not indexed on its own: a constraint begins with it.
    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="quality_windows", db_index=False
    )
    first_sample = models.BigIntegerField()
    n_times = models.PositiveIntegerField()
    verdicts = models.JSONField(help_text="One word a channel, in row order.")
    has_artifact = models.BooleanField()

    class Meta:
        ordering = ["stream", "first_sample"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["stream", "first_sample"], name="a_window_is_judged_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stream_id}:{self.first_sample}"


class Ingestion(models.Model):
    """Samples that a program sent over REST: answered when they are durable."""

    public_id = PublicIdField(prefix="ing_")
    # Not indexed on its own: a constraint begins with it.
    client = models.ForeignKey(
        Client, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="ingestions")
    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="ingestions")
    first_sample = models.BigIntegerField()
    n_times = models.PositiveIntegerField()
    metadata = models.JSONField(default=dict)
    idempotency_key = models.CharField(max_length=255, null=True)
    request_hash = models.CharField(max_length=64)
    processing_time_ms = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)

    # Of the answer to this very request: whether it had been given before; never stored.
    is_repeated = False
    # Where it begins on the session's timeline, if that is known; never stored.
    place: int | None = None

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["client", "idempotency_key"], name="one_ingestion_an_idempotency_key"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
