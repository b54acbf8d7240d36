"""A program that uses the API, for tests: real URLs, real tokens."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
from django.http import HttpResponse
from django.test import Client as HttpClient

from neurascale.core.auth import issue_tokens
from sessions_app.models import Session, Study
from sessions_app.services import create_client

_numbers = itertools.count()


class Program:
    """A client with a token, and the study that is its own."""

    def __init__(self, *scopes: str) -> None:
        self.client = create_client(
            name=f"program {next(_numbers)}", scopes=scopes or ("operator",)
        ).client
        self.http = HttpClient(
            raise_request_exception=False,
            headers={"Authorization": f"Bearer {issue_tokens(self.client)['access_token']}"},
        )

    @property
    def study(self) -> Study:
        return self.client.studies.get()

    def make_session(self, device: Any, **fields: Any) -> Session:
        return Session.objects.create(study=self.study, device=device, **fields)

    def get(self, path: str, **query: Any) -> HttpResponse:
        return self.http.get(f"/v1/{path}", query_params=query)

    def post(
        self, path: str, body: Any = b"", content_type: str = "application/json", **headers: str
    ) -> HttpResponse:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"/v1/{path}", data, content_type=content_type, headers=named)

    def patch(self, path: str, body: Any) -> HttpResponse:
        return self.http.patch(f"/v1/{path}", orjson.dumps(body), content_type="application/json")

    def delete(self, path: str) -> HttpResponse:
        return self.http.delete(f"/v1/{path}")


def error_of(response: HttpResponse, status: int, code: str) -> dict[str, Any]:
    """Return the error in the envelope, after looking at status and code."""
    assert response.status_code == status, response.content
    error = response.json()["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["code"] == code, error
    return error


def fields_of(response: HttpResponse) -> dict[str, list[str]]:
    """Return the fields that a refused request is told about."""
    return error_of(response, 400, "VALIDATION_ERROR")["details"]["fields"]
