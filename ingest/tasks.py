"""What workers do: load by id, call, record the outcome."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.conf import settings

from devices.link import Link
from devices.models import Device
from devices.ports import list_ports
from ingest import leases
from ingest.acquisition import Acquisition
from ingest.reconcile import end_due_sessions, unserved_streams
from ingest.store import prune as prune_store
from neurascale.core.errors import HardwareError

log = logging.getLogger(__name__)
shutdown = threading.Event()


def acquisition_queue(host: str) -> str:
    """Return the queue of the one acquisition worker of a lab host."""
    return f"acquisition.{host}"


@shared_task(acks_late=False)
def acquire(stream_pk: int) -> None:
    """Serve a stream until its row says stop."""
    claimed = leases.claim(stream_pk)
    if claimed is not None:
        Acquisition(*claimed, shutdown=shutdown).run()


@shared_task
def probe(device_pk: int) -> None:
    """Open a device's port, ask the board who it is, and close the port."""
    device = Device.objects.get(pk=device_pk)
    try:
        link = Link(device.port, device.make_board())
        try:
            info = link.open()
        finally:
            link.close()
    except HardwareError as error:
        device.mark(Device.Status.ERROR, error=error)
    else:
        device.mark(Device.Status.CONNECTED, info=info, port_info=link.port_info)


@shared_task(ignore_result=False)
def discover() -> list[dict[str, Any]]:
    """List the ports of this worker's host."""
    return [asdict(port) for port in list_ports()]


@shared_task
def reconcile() -> None:
    """Start what should run and does not; end what is over."""
    for stream in unserved_streams():
        enqueue(stream.pk, stream.device.host)
    end_due_sessions()


@shared_task
def prune() -> None:
    """Forget what no session recorded and no subscriber can still want."""
    prune_store(older_than_seconds=settings.KEEP_UNRECORDED_SECONDS)


def enqueue(stream_pk: int, host: str) -> None:
    """Ask the host's acquisition worker to serve a stream; asking twice does no harm."""
    # An unheard call expires: the reconciler calls again, and a queue of calls would pile up.
    acquire.apply_async((stream_pk,), queue=acquisition_queue(host), expires=settings.LEASE_SECONDS)


@worker_ready.connect
def resume_streams(sender: Any, **_: Any) -> None:
    """Take up this host's streams at once, without waiting for the reconciler."""
    queue = acquisition_queue(settings.NEURASCALE_HOST)
    if queue in sender.app.amqp.queues.consume_from:
        for stream in unserved_streams(host=settings.NEURASCALE_HOST):
            enqueue(stream.pk, settings.NEURASCALE_HOST)


@worker_shutting_down.connect
def stop_acquiring(**_: Any) -> None:
    """Let every acquisition loop of this worker end in good order."""
    shutdown.set()
