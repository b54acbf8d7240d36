"""The rooms of the portal: every page opens, and the actions of the lists do what they say."""

import pytest
from playwright.sync_api import expect

from tests.routes import rooms

ROOMS = [f"{model._meta.app_label}/{model._meta.model_name}" for model in rooms()]


@pytest.fixture
def session(lab, plug_in):
    """A completed session with an event, so that no room is empty."""
    device_id = plug_in()
    with lab.api() as api:
        api.post(f"devices/{device_id}/stream/start", json={}).raise_for_status()
        asked = {"device_id": device_id, "subject_id": "S01", "experiment_type": "rest"}
        session_id = api.post("sessions", json=asked).raise_for_status().json()["session_id"]
        api.post(f"sessions/{session_id}/events", json={"label": "cue"}).raise_for_status()
        api.post(f"sessions/{session_id}/stop").raise_for_status()
    return session_id


def test_every_list_every_form_and_every_page_opens(portal, session):
    assert {"devices/device", "ingest/stream", "sessions_app/session"} <= set(ROOMS)
    assert portal.go("") == 200
    for room in ROOMS:
        assert portal.go(f"{room}/") == 200, room
        first = portal.page.locator("#result_list tbody th a")
        if room not in {"auth/group", "sessions_app/withdrawal"}:  # a lab may have none
            assert first.count() >= 1, room
        add = portal.page.locator(
            f'main a[href$="/admin/{room}/add/"], a[href="/admin/{room}/add/"]'
        )
        may_add = add.count() > 0
        if first.count():
            with portal.page.expect_navigation() as answer:
                first.first.click()
            assert answer.value.status == 200, room
        if may_add:
            assert portal.go(f"{room}/add/") == 200, room


def act(portal, public_id, action, room="devices/device"):
    """Select something in a list and run an action on it."""
    row = portal.row(room, public_id)
    row.locator("input[type=checkbox]").check()
    portal.page.locator("select[name=action]").select_option(action)
    portal.page.get_by_role("button", name="Run").click()


def status(portal):
    return portal.page.locator("#result_list .field-status_label")


def test_the_actions_of_the_list_connect_start_and_stop(portal, plug_in):
    device_id = plug_in()
    act(portal, device_id, "connect")
    expect(portal.page.get_by_text(": connected.")).to_be_visible()
    expect(status(portal)).to_have_text("Connected")
    act(portal, device_id, "start")
    expect(portal.page.get_by_text(": streaming.")).to_be_visible()
    expect(status(portal)).to_have_text("Streaming")
    act(portal, device_id, "stop")
    expect(portal.page.get_by_text(": stopped.")).to_be_visible()
    expect(status(portal)).to_have_text("Connected")


def test_an_action_that_fails_says_what_to_do(lab, portal):
    device = {"name": "Nowhere", "type": "openbci", "port": str(lab.home / "run" / "nowhere")}
    with lab.api() as api:
        device_id = api.post("devices", json=device).raise_for_status().json()["device_id"]
        act(portal, device_id, "start")
        expect(portal.page.get_by_text("nowhere").first).to_be_visible()
        expect(status(portal)).to_have_text("Error")
        portal.open_row("devices/device", device_id)
        assert "nowhere" in portal.field("Problem")
        api.delete(f"devices/{device_id}").raise_for_status()


def test_a_stop_that_completes_a_session_is_asked_for_first(lab, portal, plug_in):
    device_id = plug_in()
    with lab.api() as api:
        api.post(f"devices/{device_id}/stream/start", json={}).raise_for_status()
        made = api.post("sessions", json={"device_id": device_id}).raise_for_status().json()
        path = f"sessions/{made['session_id']}"
        act(portal, device_id, "stop")
        expect(portal.page.get_by_text(f"Session {made['session_id']}")).to_be_visible()
        portal.page.get_by_role("link", name="Leave it running").click()
        expect(status(portal)).to_have_text("Streaming")
        assert api.get(path).json()["status"] == "active"
        act(portal, device_id, "stop")
        portal.page.get_by_role("button", name="Stop and complete").click()
        expect(portal.page.get_by_text(": stopped.")).to_be_visible()
        assert api.get(path).json()["status"] == "completed"


def test_a_session_is_paused_resumed_and_completed_from_its_list(lab, portal, plug_in):
    device_id = plug_in()
    with lab.api() as api:
        api.post(f"devices/{device_id}/stream/start", json={}).raise_for_status()
        made = api.post("sessions", json={"device_id": device_id}).raise_for_status().json()
        session_id, room = made["session_id"], "sessions_app/session"
        act(portal, session_id, "pause", room)
        expect(portal.page.get_by_text(": paused.")).to_be_visible()
        act(portal, session_id, "resume", room)
        expect(portal.page.get_by_text(": active.")).to_be_visible()
        act(portal, session_id, "stop", room)
        portal.page.get_by_role("link", name="Leave it running").click()
        assert api.get(f"sessions/{session_id}").json()["status"] == "active"
        act(portal, session_id, "stop", room)
        portal.page.get_by_role("button", name="Stop and complete").click()
        expect(portal.page.get_by_text(": completed.")).to_be_visible()
        assert api.get(f"sessions/{session_id}").json()["status"] == "completed"
        act(portal, session_id, "pause", room)
        expect(portal.page.get_by_text("is completed").first).to_be_visible()


def test_what_is_in_use_cannot_be_deleted_and_the_rest_is_asked_for_first(lab, portal, plug_in):
    device_id = plug_in()
    with lab.api() as api:
        api.post(f"devices/{device_id}/stream/start", json={}).raise_for_status()
        made = api.post("sessions", json={"device_id": device_id}).raise_for_status().json()
        delete = portal.page.get_by_role("link", name="Delete")
        portal.open_row("devices/device", device_id)
        expect(delete).to_have_count(0)
        portal.open_row("sessions_app/session", made["session_id"])
        expect(delete).to_have_count(0)
        act(portal, device_id, "delete_selected")
        expect(portal.page.get_by_text("stop its stream first")).to_be_visible()
        expect(portal.page.get_by_text(f"Session {made['session_id']}")).to_be_visible()

        api.post(f"devices/{device_id}/stream/stop").raise_for_status()
        portal.open_row("sessions_app/session", made["session_id"])
        delete.click()
        portal.page.get_by_role("button", name="Yes").click()
        assert api.get(f"sessions/{made['session_id']}").status_code == 404


def test_a_device_is_added_by_hand_and_deleted_again(lab, portal):
    page = portal.page
    portal.go("devices/device/add/")
    page.get_by_label("Name").fill("By hand")
    page.get_by_label("Port").fill("spy:///dev/ttyUSB0")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("or a URL of socket or rfc2217")).to_be_visible()
    page.get_by_label("Port").fill(str(lab.home / "run" / "by-hand"))
    page.locator("[name=settings]").fill('{"gain": "loud"}')
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("loud")).to_be_visible()
    page.locator("[name=settings]").fill("{}")
    page.get_by_role("button", name="Save", exact=True).click()
    portal.row("devices/device", "By hand")
    portal.open_row("devices/device", "By hand")
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_text("By hand and what it streamed")).to_be_visible()
    page.get_by_role("button", name="Yes").click()
    expect(page.get_by_text("was deleted successfully")).to_be_visible()
