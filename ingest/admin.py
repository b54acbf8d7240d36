"""The rooms where the signal is: a device with its live scope, sessions with numbers, streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest
from django.http.response import HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.decorators import display

from devices.admin import DeviceAdmin
from devices.models import Device
from ingest.models import Gap, Segment, Stream
from ingest.services import recordings, streams
from ingest.services.withdrawals import withdraw_subject
from ingest.store import Recording, Summary
from neurascale.core.auth import Scope, scopes_of
from neurascale.core.portal import AuditedAdmin, ReadOnlyAdmin
from sessions_app.admin import EventInline, SessionAdmin, SubjectAdmin
from sessions_app.models import Event, Session, Subject

STATE_COLOURS = {
    Stream.State.RUNNING: "success",
    Stream.State.STARTING: "warning",
    Stream.State.RECONNECTING: "warning",
    Stream.State.FAILED: "danger",
    Stream.State.STOPPED: "info",
}


@admin.register(Device)
class LiveDeviceAdmin(DeviceAdmin):
    """A device, its live scope, and what can be done with it."""

    change_form_outer_before_template = "ingest/scope.html"
    actions = ("connect", "start", "stop")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Give the scope what it needs to begin."""
        device = self.get_object(request, object_id)
        facts = device and {
            "deviceId": device.public_id,
            "channels": list(device.make_board().ch_names),
            "status": device.status,
            "packetSeconds": settings.CHUNK_MS / 1000,
            "loginUrl": reverse("admin:login"),
            "sessionsUrl": reverse("admin:sessions_app_session_changelist"),
            "newStudyUrl": reverse("admin:sessions_app_study_add"),
        }
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), "scope": facts}
        )

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Say whether this person may make devices do something."""
        return Scope.DEVICES_CONTROL in scopes_of(request.user)

    @admin.action(description="Connect: ask the board who it is", permissions=["control"])
    def connect(self, request: HttpRequest, devices: QuerySet[Device]) -> None:
        """Open each port and ask the board who it is."""
        self.do_each(
            request,
            devices,
            lambda device: streams.connect_device(device=device),
            lambda _: "connected",
        )

    @admin.action(description="Start streaming", permissions=["control"])
    def start(self, request: HttpRequest, devices: QuerySet[Device]) -> None:
        """Start each device with all its channels and no filters."""
        self.do_each(
            request,
            devices,
            lambda device: streams.start_stream(device=device),
            lambda _: "streaming",
        )

    @admin.action(description="Stop streaming (completes a recording)", permissions=["control"])
    def stop(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponse | None:
        """Stop each device's stream; ask first where that completes a session."""
        recording = Session.objects.filter(device__in=devices, status__in=Session.OPEN)
        if recording and "sure" not in request.POST:
            return _ask_before_stop(self, request, devices, recording)
        self.do_each(
            request,
            devices,
            lambda device: streams.stop_stream(device=device, principal=request.user),
            lambda _: "stopped",
        )
        return None

    def get_deleted_objects(
        self, objs: Iterable[Device], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Say what goes with devices: Django would name each of a stream's thousands of blocks."""
        devices = list(objs)
        named = Device.objects.filter(pk__in=[device.pk for device in devices])
        counted = named.annotate(n_streams=Count("streams"))
        sessions = Session.objects.filter(device__in=devices)
        in_use = [device for device in devices if not self.has_delete_permission(request, device)]
        return (
            [f"{device} and what it streamed: {device.n_streams} streams" for device in counted],
            {"devices": len(devices), "streams": sum(device.n_streams for device in counted)},
            set(),
            [
                *(f"{device} is {device.status}: stop its stream first" for device in in_use),
                *(f"Session {session}" for session in sessions),
            ],
        )


def _ask_before_stop(
    room: AuditedAdmin, request: HttpRequest, selected: QuerySet[Any], ends: QuerySet[Session]
) -> HttpResponse:
    """Ask whether what was selected is to be stopped, which completes sessions for good."""
    context = {
        **room.admin_site.each_context(request),
        "title": "Stop and complete",
        "opts": room.opts,
        "sessions": ends.select_related("device"),
        "selected": selected,
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "ingest/confirm_stop.html", context)


class SegmentInline(TabularInline):
    """Which parts of which stream a session recorded."""

    model = Segment
    tab = hide_title = True
    extra = 0
    fields = readonly_fields = ("stream", "first_sample", "stop_sample")
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """Say no: segments are made by recording."""
        return False


class Recorded(NamedTuple):
    """What a session has recorded, read once for all that a page shows of it."""

    recording: Recording
    summary: Summary

    @classmethod
    def by(cls, session: Session) -> Recorded:
        """Return what a session has recorded."""
        if "recorded" not in vars(session):
            recording = Recording.of(session)
            vars(session)["recorded"] = cls(recording, recording.summary())
        recorded: Recorded = vars(session)["recorded"]
        return recorded


class RecordedEventInline(EventInline):
    """What happened in a session, and on which of its samples."""

    fields = readonly_fields = (
        "label",
        "given",
        "session_sample",
        "at",
        "duration_seconds",
        "source",
    )

    @display(description="Value")
    def given(self, event: Event) -> str | None:
        """Return the value that came with the label."""
        return None if event.value is None else str(event.value)

    @display(description="Sample")
    def session_sample(self, event: Event) -> int | None:
        """Return the sample of the session's timeline; None if nothing was recorded then."""
        if event.sample is None:
            return None
        return Recorded.by(event.session).recording.sample_of(event.stream_id, event.sample)

    @display(description="At")
    def at(self, event: Event) -> str | None:
        """Return how long after the beginning that is."""
        sample = self.session_sample(event)
        if sample is None:
            return None
        return f"{sample / Recorded.by(event.session).recording.sfreq:.2f} s"


@admin.register(Session)
class RecordedSessionAdmin(SessionAdmin):
    """A session with its numbers, computed from what is stored."""

    list_display = (*SessionAdmin.list_display, "duration", "data_points", "artifacts")
    readonly_fields = (*SessionAdmin.readonly_fields, "duration", "data_points", "artifacts")
    fields = (
        SessionAdmin.fields[0],
        ("duration", "data_points", "artifacts"),
        *SessionAdmin.fields[1:],
    )
    inlines = (RecordedEventInline, SegmentInline)
    actions = ("start", "pause", "resume", "stop")

    def has_record_permission(self, request: HttpRequest) -> bool:
        """Say whether this person may begin and end recordings."""
        return Scope.SESSIONS_WRITE in scopes_of(request.user)

    @admin.action(description="Start recording", permissions=["record"])
    def start(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        """Begin what was only created, with a stream where there is none."""
        self._become(request, sessions, recordings.start_session)

    @admin.action(description="Pause recording", permissions=["record"])
    def pause(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        """Leave out what comes, until each is resumed."""
        self._become(request, sessions, recordings.pause_session)

    @admin.action(description="Resume recording", permissions=["record"])
    def resume(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        """Go on after a pause."""
        self._become(request, sessions, recordings.resume_session)

    @admin.action(description="Stop recording (completes the session)", permissions=["record"])
    def stop(self, request: HttpRequest, sessions: QuerySet[Session]) -> HttpResponse | None:
        """Complete each session, once that was said twice."""
        recording = sessions.filter(status__in=Session.OPEN)
        if recording and "sure" not in request.POST:
            return _ask_before_stop(self, request, sessions, recording)
        self._become(request, sessions, recordings.stop_session)
        return None

    def _become(
        self,
        request: HttpRequest,
        sessions: QuerySet[Session],
        service: Callable[..., Session],
    ) -> None:
        """Do one thing with each session, and say what it is now."""
        self.do_each(
            request,
            sessions,
            lambda session: service(session=session),
            lambda session: session.get_status_display().lower(),
        )

    @display(description="Duration")
    def duration(self, session: Session) -> str:
        """Return the length of the timeline."""
        return f"{Recorded.by(session).summary.duration_seconds:.1f} s"

    @display(description="Data points")
    def data_points(self, session: Session) -> str:
        """Return how many samples of each channel are stored."""
        return f"{Recorded.by(session).summary.data_points:,}"

    @display(description="Artifacts")
    def artifacts(self, session: Session) -> str:
        """Return the share of judged seconds that hold an artifact."""
        percentage = Recorded.by(session).summary.artifact_percentage
        return "–" if percentage is None else f"{percentage:.1f} %"


@admin.register(Subject)
class RecordedSubjectAdmin(SubjectAdmin):
    """Subjects, and the end of what was recorded of them."""

    actions = ("withdraw",)

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        """Say whether this person may change recordings."""
        return Scope.SESSIONS_WRITE in scopes_of(request.user)

    @admin.action(
        description="Withdraw: delete all recordings of the subject", permissions=["withdraw"]
    )
    def withdraw(self, request: HttpRequest, subjects: QuerySet[Subject]) -> HttpResponse | None:
        """Ask whether it is meant, then delete what was recorded of each subject."""
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": "Withdraw",
                "subjects": subjects.annotate(n_sessions=Count("sessions")),
                "opts": self.opts,
            }
            return TemplateResponse(request, "ingest/withdraw.html", context)
        self.do_each(
            request,
            subjects,
            lambda subject: withdraw_subject(subject=subject),
            lambda done: f"{done.n_sessions} sessions deleted",
        )
        return None


class GapInline(TabularInline):
    """What is missing from a stream."""

    model = Gap
    tab = hide_title = True
    extra = 0
    fields = readonly_fields = ("first_sample", "at", "samples", "reason")
    can_delete = False
    per_page = 50

    @display(description="At")
    def at(self, gap: Gap) -> str:
        """Return how long after the beginning of the stream it begins."""
        return f"{gap.first_sample / gap.stream.sfreq:.1f} s"

    @display(description="Samples")
    def samples(self, gap: Gap) -> str:
        """Return how many are missing."""
        return f"{gap.n_times:,}"

    def has_add_permission(self, request: HttpRequest, obj: Stream | None = None) -> bool:
        """Say no: gaps are found, not made."""
        return False


@admin.register(Stream)
class StreamAdmin(ReadOnlyAdmin):
    """Streams with their gaps; nothing here can be changed by hand."""

    list_display = (
        "public_id",
        "device",
        "state_label",
        "origin",
        "samples",
        "missing",
        "started_at",
        "stopped_at",
    )
    list_filter = ("state", "origin", "device")
    search_fields = ("public_id", "device__name")
    fields = (
        ("public_id", "state"),
        ("device", "origin"),
        ("samples", "missing"),
        ("started_at", "stopped_at"),
        ("sampling_rate", "channels"),
        "filters_text",
        "problem",
    )
    readonly_fields = ("samples", "missing", "sampling_rate", "channels", "filters_text", "problem")
    inlines = (GapInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stream]:
        """Count what is missing in the same query."""
        found: QuerySet[Stream] = super().get_queryset(request).select_related("device")
        return found.annotate(n_missing=Sum("gaps__n_times"), n_gaps=Count("gaps"))

    @display(description="State", ordering="state", label=STATE_COLOURS)
    def state_label(self, stream: Stream) -> tuple[str, str]:
        """Return the state with the colour it is shown in."""
        return stream.state, stream.get_state_display()

    @display(description="Samples", ordering="next_sample")
    def samples(self, stream: Stream) -> str:
        """Return how many samples the board sent so far, as far as we know."""
        return f"{stream.next_sample:,}"

    @display(description="Missing", ordering="n_missing")
    def missing(self, stream: Stream) -> str:
        """Return how many of them are in gaps."""
        if not stream.n_gaps:
            return "–"
        return f"{stream.n_missing:,} in {stream.n_gaps} gap{'' if stream.n_gaps == 1 else 's'}"

    @display(description="Sampling rate")
    def sampling_rate(self, stream: Stream) -> str:
        """Return it in hertz."""
        return f"{stream.sfreq:g} Hz"

    @display(description="Channels")
    def channels(self, stream: Stream) -> str:
        """Return their names."""
        return ", ".join(stream.ch_names)

    @display(description="Filters of what is shown")
    def filters_text(self, stream: Stream) -> str:
        """Return what the broadcast copy is filtered with; the stored one never is."""
        return ", ".join(f"{name} {value}" for name, value in stream.filters.items()) or "none"

    @display(description="Problem")
    def problem(self, stream: Stream) -> str | None:
        """Return why it failed."""
        return stream.error and stream.error["message"]
