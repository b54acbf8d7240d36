"""A lab with one of everything, in which any operation can be made to give any of its answers."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import orjson
from django.db.transaction import atomic
from django.http import HttpResponse
from django.test import Client as HttpClient

from devices.models import Device
from ingest.models import Stream
from neurascale.core.auth import issue_tokens
from sessions_app.models import Session
from sessions_app.services import NewClient, create_client, find_subject
from tests.ingest.factories import make_device, make_stream
from tests.openapi.described import Described, operations

START = "2025-07-26T10:30:00Z"
JSON = "application/json"
ADDRESSES = map(str, ip_network("198.18.0.0/15").hosts())  # for tests of networks (RFC 2544)


class Room:
    """Rows, who may do everything with them, and who may do nothing."""

    def __init__(self) -> None:
        self.new: NewClient = create_client(name="everything", scopes=["admin"])
        self.study = self.new.client.studies.get()
        self.token = issue_tokens(self.new.client)["access_token"]
        self.nobody = create_client(name="nothing", scopes=[], study=self.study).client
        self.powerless = issue_tokens(self.nobody)["access_token"]
        self.address = next(ADDRESSES)  # whoever guesses secrets is remembered by it
        self.device = make_device(name="OpenBCI Cyton")
        self.session = self.make_session()
        with atomic():
            self.subject = find_subject(study=self.study, code="S001")

    # --- Rows ------------------------------------------------------------------------------------

    def make_session(self, device: Device | None = None, status: str = "created") -> Session:
        return Session.objects.create(study=self.study, device=device or self.device, status=status)

    def streaming(self, state: str = Stream.State.RUNNING, **fields: Any) -> Stream:
        """Return a stream of the device, as if a worker served it."""
        self.device.mark(Device.Status.STREAMING)
        return make_stream(self.device, state=state, **fields)

    def ingest(self, session: Session | None = None, **headers: str) -> HttpResponse:
        """Send samples to a session."""
        return self.ask("ingest_neural_data", self.neural_data(session), **headers)

    def neural_data(self, session: Session | None = None) -> dict[str, Any]:
        session = session or self.session
        return {
            "device_id": session.device.public_id,
            "session_id": session.public_id,
            "timestamp": START,
            "data": {"eeg": [[1.0, 2.0]] * 8, "sample_rate": 250, "channels": 8},
        }

    @property
    def ids(self) -> dict[str, Callable[[], str]]:
        """Real ids for the variables of paths."""
        return {
            "device_id": lambda: self.device.public_id,
            "session_id": lambda: self.session.public_id,
            "study_id": lambda: self.study.public_id,
            "subject_id": lambda: self.subject.public_id,
            "client_id": lambda: self.nobody.public_id,
            "ingestion_id": lambda: str(self.ingest().json()["ingestion_id"]),
        }

    def ids_of(self, name: str) -> dict[str, str]:
        """Return real ids for all variables of an operation's path."""
        return {variable: self.ids[variable]() for variable in operations()[name].variables}

    # --- Requests --------------------------------------------------------------------------------

    def ask(
        self,
        name: str,
        body: Any = None,
        *,
        token: str | None = "",
        kind: str = JSON,
        query: dict[str, Any] | None = None,
        **more: str,
    ) -> HttpResponse:
        """Send a request; names in ``more`` are variables of the path, or headers.

        Parameters
        ----------
        name : str
            Of the operation.
        body : bytes, or anything that has a JSON form
            None for no body.
        token : str or None
            Of who may do everything by default; None for none.
        kind : str
            Media type of the body.
        query : dict
            Of the URL.
        """
        described: Described = operations()[name]
        variables = {
            variable: more.pop(variable) if variable in more else self.ids[variable]()
            for variable in described.variables
        }
        headers = {header.replace("_", "-"): value for header, value in more.items()}
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token or self.token}")
        sent = (
            {}
            if body is None
            else {
                "data": body if isinstance(body, bytes) else orjson.dumps(body),
                "content_type": kind,
            }
        )
        return HttpClient(raise_request_exception=False).generic(
            described.method,
            described.path.format(**variables),
            headers=headers,
            REMOTE_ADDR=self.address,
            query_params=query,
            **sent,
        )
