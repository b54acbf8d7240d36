"""What the scope says and does when the server, the login or the board is away."""

import os
import signal

import pytest
from playwright.sync_api import expect

from ingest.quality import VERDICTS
from tests.waiting import wait_until

pytestmark = pytest.mark.page


@pytest.fixture
def scope(lab, portal):
    scope = portal.scope(lab.device_id())
    wait_until(lambda: min(scope.look().inked) > 0.95, what="traces in every lane")
    return scope


def wait_for_another_web(lab, killed):
    wait_until(lambda: lab.pids().get("web", killed) != killed, what="another web process")


def test_a_killed_web_process_is_shown_and_nothing_is_missing_after_it(lab, portal, scope):
    scope.part("canvas").focus()  # the notice needs no pointer
    killed = lab.kill("web")
    scope.wait_for_link("lost")
    expect(scope.part("status")).to_have_text("offline")
    expect(scope.part("notice")).to_contain_text("The connection is lost.")
    expect(scope.button("retry")).to_be_visible()
    expect(scope.button("stop")).to_be_disabled()
    last = portal.frames.packets()[-1]["sequence"]
    wait_for_another_web(lab, killed)
    scope.wait_for_link("open")
    expect(scope.part("notice")).to_be_hidden()
    expect(scope.part("status")).to_have_text("streaming")
    wait_until(
        lambda: scope.let_it_draw() or portal.frames.packets()[-1]["sequence"] > last + 25,
        what="packets after the loss",
    )
    numbers = {packet["sequence"] for packet in portal.frames.packets()}
    assert numbers == set(range(min(numbers), max(numbers) + 1))
    wait_until(lambda: min(scope.look().inked) > 0.95, what="traces without a hole")
    portal.errors.clear()  # the browser notes every refused connection


def test_a_server_that_says_it_restarts_is_believed(lab, portal, scope):
    stopped = lab.pids()["web"]
    os.kill(stopped, signal.SIGTERM)
    scope.wait_for_link("restarting")
    wait_for_another_web(lab, stopped)
    scope.wait_for_link("open")
    expect(scope.part("status")).to_have_text("streaming")
    portal.errors.clear()


def test_who_is_logged_out_is_told_and_led_back(portal, scope):
    here = portal.page.url
    portal.page.context.clear_cookies()
    scope.button("record").click()
    scope.wait_for_link("logged out")
    expect(scope.part("notice")).to_contain_text("You are logged out.")
    scope.part("notice").get_by_role("link", name="Log in").click()
    portal.log_in()
    portal.page.wait_for_url(here.split("?")[0])
    scope.wait_for_link("open")
    portal.errors.clear()  # the 401


def test_a_device_that_was_removed_is_not_asked_for_again(lab, portal):
    device = {"name": "Gone", "type": "openbci", "port": str(lab.home / "run" / "gone")}
    with lab.api() as api:
        device_id = api.post("devices", json=device).raise_for_status().json()["device_id"]
        scope = portal.scope(device_id)
        expect(scope.part("notice")).to_contain_text("Press Start")
        api.delete(f"devices/{device_id}").raise_for_status()
    killed = lab.kill("web")
    wait_for_another_web(lab, killed)
    scope.wait_for_link("refused")
    expect(scope.part("notice")).to_contain_text("removed")
    portal.errors.clear()


def test_a_port_that_is_not_there_is_told_with_what_to_do(lab, portal):
    device = {"name": "Missing", "type": "openbci", "port": str(lab.home / "run" / "missing")}
    with lab.api() as api:
        device_id = api.post("devices", json=device).raise_for_status().json()["device_id"]
        scope = portal.scope(device_id)
        scope.button("connect").click()
        expect(scope.part("status")).to_have_text("error")
        expect(scope.part("message")).to_contain_text("missing")
        expect(scope.part("notice")).to_contain_text("missing")
        expect(scope.button("connect")).to_be_enabled()
        api.delete(f"devices/{device_id}").raise_for_status()
    portal.errors.clear()  # the 503


def test_buttons_connect_start_and_stop_and_a_recording_is_asked_for_first(portal, plug_in):
    scope = portal.scope(plug_in())
    expect(scope.part("status")).to_have_text("disconnected")
    scope.button("connect").click()
    expect(scope.part("status")).to_have_text("connected")
    scope.page.locator('[data-filter="notch"]').select_option("60")
    scope.button("start").click()
    expect(scope.part("status")).to_have_text("streaming")
    expect(scope.page.locator('[data-filter="notch"]')).to_be_disabled()
    wait_until(lambda: min(scope.look().inked) > 0.1, what="the first traces")
    judged = wait_until(
        lambda: scope.let_it_draw() or portal.frames.news("signal_quality"), what="a verdict"
    )
    assert set(judged[0]["channels"]) <= set(VERDICTS)
    assert len(judged[0]["channels"]) == len(judged[0]["reasons"]) == 8

    scope.button("record").click()
    expect(scope.button("record")).to_have_text("■ Stop recording")
    scope.button("stop").click()
    dialog = scope.part("ask")
    expect(dialog).to_contain_text("completes")
    dialog.get_by_role("button", name="Cancel").click()
    expect(scope.part("status")).to_have_text("streaming")
    expect(scope.button("record")).to_have_text("■ Stop recording")
    scope.button("stop").click()
    dialog.get_by_role("button", name="Stop and complete it").click()
    expect(scope.part("status")).to_have_text("connected")
    expect(scope.button("record")).to_have_text("● Record")
    expect(scope.part("notice")).to_contain_text("Press Start")


def stream_from(lab, device_id):
    with lab.api() as api:
        started = api.post(f"devices/{device_id}/stream/start", json={}).raise_for_status()
    return started.json()["stream_id"]


def test_a_board_that_is_unplugged_is_said_to_be(lab, portal, plug_in):
    device_id = plug_in("--faults", "unplug=1+3600")
    stream_from(lab, device_id)
    scope = portal.scope(device_id)
    expect(scope.part("status")).to_have_text("reconnecting")
    expect(scope.part("notice")).to_contain_text("The board does not answer")
    expect(scope.button("stop")).to_be_enabled()


def test_what_the_board_lost_is_shaded_and_counted_and_is_on_the_streams_page(lab, portal, plug_in):
    device_id = plug_in("--faults", "unplug=2+1")
    stream_id = stream_from(lab, device_id)
    with lab.api() as api:
        wait_until(lambda: api.get(f"devices/{device_id}/status").json()["samples_lost"])
    scope = portal.scope(device_id)
    scope.part("window").select_option("30")
    expect(scope.part("facts")).to_contain_text("samples lost")
    wait_until(lambda: "· 0 samples" not in scope.part("facts").inner_text(), what="a lost sample")
    wait_until(lambda: n_shaded(scope) > 10, what="a shaded gap")

    row = portal.row("ingest/stream", stream_id)
    expect(row.locator(".field-missing")).to_contain_text("in 1 gap")
    row.locator("th a").click()
    (gap,) = portal.tab("Gaps")
    assert int(gap["Samples"].replace(",", "")) >= 125
    assert gap["At"].endswith(" s")


def n_shaded(scope):
    """Count the columns that are tinted red."""
    return scope.page.evaluate(
        """() => {
          const canvas = document.querySelector('[data-role="canvas"]');
          const { data } = canvas.getContext('2d').getImageData(0, 3, canvas.width, 1);
          let n = 0;
          for (let i = 0; i < data.length; i += 4) {
            const [red, green, blue] = data.slice(i, i + 3);
            if (red - green > 20 && Math.abs(green - blue) < 5) n += 1;
          }
          return n;
        }"""
    )
