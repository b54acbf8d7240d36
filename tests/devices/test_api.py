"""The lab's list of devices, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError
from django.http import HttpResponse
from django.test import Client as Browser

from devices.models import Device
from devices.serializers import DeviceSerializer
from neurascale.core.auth import issue_tokens
from sessions_app.models import Session
from sessions_app.services import create_client

pytestmark = pytest.mark.django_db

DEVICES = "/v1/devices"
CYTON = {"name": "OpenBCI Cyton", "type": "openbci", "port": "/dev/ttyUSB0"}


def browser_of(*scopes: str) -> Browser:
    client = create_client(name="program", scopes=scopes).client
    token = issue_tokens(client)["access_token"]
    return Browser(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def browser() -> Browser:
    return browser_of("operator")


def post(browser: Browser, **fields: Any) -> HttpResponse:
    return browser.post(DEVICES, fields, content_type="application/json")


def patch(browser: Browser, device: Device, **fields: Any) -> HttpResponse:
    url = f"{DEVICES}/{device.public_id}"
    return browser.patch(url, fields, content_type="application/json")


def error_of(response: HttpResponse, status: int, code: str) -> dict[str, Any]:
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code), error
    return error


def test_a_device_has_the_seed_documents_fields(browser):
    created = post(browser, **CYTON)
    assert created.status_code == 201
    device = created.json()
    assert device["device_id"].startswith("dev_")
    seed = {
        "name": "OpenBCI Cyton",
        "type": "openbci",
        "status": "disconnected",
        "channels": 8,
        "sample_rate": 250,
    }
    assert {name: device[name] for name in seed} == seed
    assert b'"sample_rate":250,' in created.content
    assert browser.get(DEVICES).json()["devices"] == [device]
    assert browser.get(f"{DEVICES}/{device['device_id']}").json() == device
    assert (device["board"], device["port"]) == ("cyton", "/dev/ttyUSB0")
    assert (device["error"], device["last_seen_at"]) == (None, None)


def test_what_is_written_is_what_the_fields_say(browser):
    post(browser, **CYTON)
    assert list(DeviceSerializer(Device.objects.get()).data) == list(DeviceSerializer.Meta.fields)


def test_a_board_can_be_named_and_has_its_own_numbers(browser):
    device = post(browser, name="Daisy", board="cyton_daisy", port="/dev/ttyUSB1").json()
    assert (device["type"], device["channels"], device["sample_rate"]) == ("openbci", 16, 125)


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"port": ""}, "port"),
        ({"port": "spy:///dev/ttyUSB0?file=/etc/passwd"}, "port"),
        ({"type": "neuralink"}, "type"),
        ({"board": "ganglion_9"}, "board"),
        ({"type": "lsl", "board": "cyton"}, "type"),
        ({"settings": [1]}, "settings"),
        ({"settings": {"gain": 24}}, "settings"),
        ({"settings": {"gains": [24, 24]}}, "settings"),
        ({"status": "streaming"}, "status"),
        ({"device_id": "dev_mine"}, "device_id"),
    ],
)
def test_a_device_that_cannot_be_is_refused_with_the_field_to_blame(browser, fields, blamed):
    error = error_of(post(browser, **{**CYTON, **fields}), 400, "VALIDATION_ERROR")
    assert blamed in error["details"]["fields"]
    assert not Device.objects.exists()


@pytest.mark.parametrize("missing", ["name", "type", "port"])
def test_a_device_without_what_it_needs_is_refused(browser, missing):
    fields = {name: value for name, value in CYTON.items() if name != missing}
    error = error_of(post(browser, **fields), 400, "VALIDATION_ERROR")
    assert missing in error["details"]["fields"]


def test_settings_are_those_of_the_board(browser):
    device = post(browser, **CYTON, settings={"gains": [8] * 8}).json()
    assert device["settings"] == {"gains": [8] * 8}


def test_a_port_belongs_to_one_device_of_a_host(browser):
    first = post(browser, **CYTON).json()
    error = error_of(post(browser, **CYTON), 409, "DEVICE_EXISTS")
    assert error["details"]["device_id"] == first["device_id"]
    assert post(browser, **CYTON, host="another-lab-host").status_code == 201
    with pytest.raises(IntegrityError):
        Device.objects.create(board="cyton", port="/dev/ttyUSB0", host=first["host"])


def test_an_unknown_device_is_answered_with_the_seed_documents_error(browser):
    error = error_of(browser.get(f"{DEVICES}/dev_999"), 404, "INVALID_DEVICE_ID")
    error.pop("request_id")
    assert error == {
        "code": "INVALID_DEVICE_ID",
        "message": "Device with ID 'dev_999' not found",
        "details": {
            "device_id": "dev_999",
            "suggestion": "Check device ID or register device first",
        },
    }


@pytest.mark.parametrize("device_id", ["1", "sess_456", "' OR 1=1 --", "%F0%9F%A7%A0", "x" * 500])
def test_a_malformed_id_is_an_unknown_one(browser, device_id):
    error_of(browser.get(f"{DEVICES}/{device_id}"), 404, "INVALID_DEVICE_ID")
    error_of(browser.delete(f"{DEVICES}/{device_id}"), 404, "INVALID_DEVICE_ID")


def test_the_number_in_the_database_is_no_id(browser):
    post(browser, **CYTON)
    error_of(browser.get(f"{DEVICES}/{Device.objects.get().pk}"), 404, "INVALID_DEVICE_ID")


def test_a_device_can_be_renamed_and_rewired(browser):
    post(browser, **CYTON)
    device = Device.objects.get()
    changed = patch(browser, device, name="Left", port="/dev/ttyUSB7")
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["port"]) == ("Left", "/dev/ttyUSB7")
    assert patch(browser, device, board="cyton_daisy").json()["channels"] == 16
    error_of(patch(browser, device, settings={"gains": [24] * 8}), 400, "VALIDATION_ERROR")
    error_of(patch(browser, device, status="connected"), 400, "VALIDATION_ERROR")


def test_what_was_known_of_the_old_port_is_not_said_of_the_new_one(browser):
    post(browser, **CYTON)
    Device.objects.update(status="connected")
    device = Device.objects.get()
    assert patch(browser, device, name="Left").json()["status"] == "connected"
    assert patch(browser, device, port="/dev/ttyUSB7").json()["status"] == "disconnected"


def test_a_streaming_device_can_be_renamed_but_not_rewired_or_removed(browser):
    post(browser, **CYTON)
    Device.objects.update(status="streaming")
    device = Device.objects.get()
    assert patch(browser, device, name="Left", port=device.port).status_code == 200
    for change in ({"port": "/dev/ttyUSB7"}, {"settings": {"gains": [8] * 8}}):
        error = error_of(patch(browser, device, **change), 409, "DEVICE_BUSY")
        assert "Stop" in error["details"]["suggestion"]
    error_of(browser.delete(f"{DEVICES}/{device.public_id}"), 409, "DEVICE_BUSY")
    device.refresh_from_db()
    assert device.port == "/dev/ttyUSB0"


def test_a_device_can_be_removed(browser):
    device_id = post(browser, **CYTON).json()["device_id"]
    removed = browser.delete(f"{DEVICES}/{device_id}")
    assert (removed.status_code, removed.content) == (204, b"")
    error_of(browser.get(f"{DEVICES}/{device_id}"), 404, "INVALID_DEVICE_ID")


def test_a_device_with_recordings_stays_and_the_answer_says_what_to_do(browser):
    device_id = post(browser, **CYTON).json()["device_id"]
    study = create_client(name="other", scopes=["viewer"]).client.studies.get()
    Session.objects.create(study=study, device=Device.objects.get())
    error = error_of(browser.delete(f"{DEVICES}/{device_id}"), 409, "DEVICE_IN_USE")
    assert "sessions" in error["details"]["suggestion"]
    assert Device.objects.exists()


def test_a_board_whose_file_is_gone_does_not_take_the_list_with_it(browser):
    Device.objects.create(name="Old", board="retired", port="/dev/ttyUSB9")
    old = browser.get(DEVICES).json()["devices"][0]
    assert (old["board"], old["type"], old["channels"]) == ("retired", None, None)


def test_looking_takes_one_scope_and_changing_another():
    viewer = browser_of("devices:read")
    assert viewer.get(DEVICES).status_code == 200
    error_of(post(viewer, **CYTON), 403, "PERMISSION_DENIED")
    error_of(browser_of("sessions:read").get(DEVICES), 403, "PERMISSION_DENIED")
    error_of(Browser().get(DEVICES), 401, "NOT_AUTHENTICATED")
