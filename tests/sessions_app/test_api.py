"""Studies and sessions over HTTP: who sees what, and what can be changed."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client as Browser

from devices.models import Device
from neurascale.core.auth import issue_tokens
from neurascale.core.models import Client
from sessions_app.models import Session
from sessions_app.services import create_client, create_session

pytestmark = pytest.mark.django_db

SESSIONS = "/v1/sessions"
STUDIES = "/v1/studies"


def browser_of(client: Client) -> Browser:
    token = issue_tokens(client)["access_token"]
    return Browser(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def ours() -> Client:
    return create_client(name="ours", scopes=["operator"]).client


@pytest.fixture
def theirs() -> Client:
    return create_client(name="theirs", scopes=["operator"]).client


@pytest.fixture
def device() -> Device:
    return Device.objects.create(name="Cyton", board="cyton", port="/dev/ttyUSB0")


@pytest.fixture
def session(ours: Client, device: Device) -> Session:
    return create_session(
        principal=ours,
        device=device,
        subject_code="encrypted_subject_id",
        experiment_type="motor_imagery",
        duration_minutes=30,
        metadata={"room": 4},
    )


def patch(browser: Browser, session: Session, **fields: Any) -> HttpResponse:
    url = f"{SESSIONS}/{session.public_id}"
    return browser.patch(url, fields, content_type="application/json")


def error_of(response: HttpResponse, status: int, code: str) -> dict[str, Any]:
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code), error
    return error


def test_a_session_says_who_what_and_where(ours, session, device):
    told = browser_of(ours).get(f"{SESSIONS}/{session.public_id}").json()
    assert told["session_id"] == session.public_id
    assert told["status"] == "created"
    assert told["start_time"] is told["end_time"] is None
    assert told["device_id"] == device.public_id
    assert told["study_id"] == ours.studies.get().public_id
    assert told["subject_id"] == session.subject.public_id
    assert (told["experiment_type"], told["duration_minutes"]) == ("motor_imagery", 30)
    assert told["metadata"] == {"room": 4}
    assert told["created_at"].endswith("Z")
    assert set(told) >= {"duration_seconds", "data_points"}
    assert set(told["quality_metrics"]) == {"artifact_percentage", "signal_quality"}


def test_the_code_of_a_subject_is_nowhere_in_the_answer(ours, session):
    answer = browser_of(ours).get(SESSIONS)
    assert b"encrypted_subject_id" not in answer.content
    assert b"subj_" in answer.content


def test_another_studys_session_is_answered_exactly_as_an_unknown_one(theirs, session):
    browser = browser_of(theirs)
    for method in ("get", "patch", "delete"):
        answers = [
            getattr(browser, method)(f"{SESSIONS}/{name}", content_type="application/json")
            for name in (session.public_id, "sess_nothing")
        ]
        foreign, unknown = (error_of(a, 404, "INVALID_SESSION_ID") for a in answers)
        for error, name in ((foreign, session.public_id), (unknown, "sess_nothing")):
            assert error["message"] == f"Session with ID '{name}' not found"
            assert error["details"].pop("session_id") == name
        assert foreign["details"] == unknown["details"]
    assert Session.objects.exists()


def test_lists_and_their_totals_know_only_ones_own_studies(ours, theirs, session):
    assert browser_of(ours).get(SESSIONS).json()["pagination"]["total"] == 1
    empty = {"sessions": [], "pagination": {"next": None, "previous": None, "total": 0}}
    assert browser_of(theirs).get(SESSIONS).json() == empty
    query = f"{SESSIONS}?search={session.public_id}&study_id={session.study.public_id}"
    assert browser_of(theirs).get(query).json() == empty


def test_sessions_are_found_by_what_is_said_of_them(ours, session, device):
    other = create_session(principal=ours, device=device, experiment_type="rest")
    browser = browser_of(ours)

    def found(query: str) -> list[str]:
        return [s["session_id"] for s in browser.get(f"{SESSIONS}?{query}").json()["sessions"]]

    assert found("") == [other.public_id, session.public_id]
    assert found("ordering=created_at") == [session.public_id, other.public_id]
    assert found(f"subject_id={session.subject.public_id}") == [session.public_id]
    assert found("experiment_type=rest") == [other.public_id]
    assert found(f"device_id={device.public_id}&status=created&limit=1") == [other.public_id]
    assert found("status=active") == []
    assert found("search=imagery") == [session.public_id]


def test_what_is_said_of_a_session_can_change(ours, session):
    told = patch(
        browser_of(ours), session, experiment_type="rest", metadata={}, duration_minutes=None
    ).json()
    assert (told["experiment_type"], told["metadata"]) == ("rest", {})
    assert told["duration_minutes"] is None
    session.refresh_from_db()
    assert session.experiment_type == "rest"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "completed"},
        {"device_id": "dev_1"},
        {"duration_minuts": 3},
        {"duration_minutes": 0},
        {"duration_minutes": -1},
        {"duration_minutes": "nan"},
        {"duration_minutes": "30"},
        {"duration_minutes": True},
        {"experiment_type": 7},
        {"duration_minutes": 1e300},
        {"duration_minutes": "long"},
        {"metadata": [1]},
        {"experiment_type": "x" * 201},
    ],
)
def test_what_cannot_change_is_refused_by_name(ours, session, change):
    error = error_of(patch(browser_of(ours), session, **change), 400, "VALIDATION_ERROR")
    assert set(error["details"]["fields"]) == set(change)


def test_large_numbers_in_metadata_come_back_as_they_were_sent(ours, session):
    browser = browser_of(ours)
    sent = {"volt": 1e300, "counts": [1e25, -3, 0.5], "nested": {"n": 2**53}}
    assert patch(browser, session, metadata=sent).status_code == 200
    assert browser.get(f"{SESSIONS}/{session.public_id}").json()["metadata"] == sent


def test_a_session_can_be_deleted_but_not_while_it_records(ours, session):
    browser, url = browser_of(ours), f"{SESSIONS}/{session.public_id}"
    session.move_to(Session.Status.ACTIVE)
    error = error_of(browser.delete(url), 409, "INVALID_SESSION_STATE")
    assert "stop" in error["details"]["suggestion"]
    session.move_to(Session.Status.COMPLETED)
    assert browser.delete(url).status_code == 204
    error_of(browser.get(url), 404, "INVALID_SESSION_ID")


def test_looking_takes_one_scope_and_changing_another(session, ours):
    ours.scopes = ["sessions:read"]
    ours.save()
    browser = browser_of(ours)
    assert browser.get(SESSIONS).status_code == 200
    error_of(patch(browser, session, metadata={}), 403, "PERMISSION_DENIED")
    ours.scopes = ["devices:read"]
    ours.save()
    error_of(browser_of(ours).get(SESSIONS), 403, "PERMISSION_DENIED")
    error_of(Browser().get(SESSIONS), 401, "NOT_AUTHENTICATED")


def test_staff_of_the_portal_see_every_study(admin_client, session, theirs):
    assert admin_client.get(SESSIONS).json()["pagination"]["total"] == 1
    assert admin_client.get(STUDIES).json()["pagination"]["total"] == 2


def test_a_client_sees_the_studies_it_is_a_member_of(ours, theirs):
    mine, foreign = ours.studies.get(), theirs.studies.get()
    browser = browser_of(ours)
    told = browser.get(STUDIES).json()
    assert [study["study_id"] for study in told["studies"]] == [mine.public_id]
    assert browser.get(f"{STUDIES}/{mine.public_id}").json()["name"] == "ours"
    error_of(browser.get(f"{STUDIES}/{foreign.public_id}"), 404, "INVALID_STUDY_ID")
