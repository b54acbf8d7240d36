"""The live scope of a device's page, in a browser, on a board that streams."""

import json
import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from ingest.quality import VERDICTS
from tests.waiting import wait_until

pytestmark = pytest.mark.page

MONTAGE = ["Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2"]
N_FRONTAL = 2  # of them a blink may leave the screen, and their lanes without ink for a moment


@pytest.fixture
def scope(lab, portal):
    """The scope of the lab's virtual Cyton, once the signal fills the screen."""
    scope = portal.scope(lab.device_id())
    wait_until(lambda: min(scope.look().inked) > 0.95, what="traces in every lane")
    return scope


def mark(scope, label):
    scope.part("label").fill(label)
    scope.part("label").press("Enter")
    expect(scope.part("message")).to_contain_text(f"Marked “{label}”")
    return wait_until(lambda: scope.look().marker, what="the marker on the canvas")


def test_the_scope_shows_eight_named_and_judged_channels_that_move(scope):
    expect(scope.part("status")).to_have_text("streaming")
    expect(scope.part("notice")).to_be_hidden()
    assert scope.part("channels").locator("b").all_inner_texts() == MONTAGE
    badges = scope.part("channels").locator("i")
    expect(badges).to_have_count(8)
    wait_until(
        lambda: all(text.split(":")[0] in VERDICTS for text in badges.all_inner_texts()),
        what="a verdict on every channel",
    )
    wait_until(lambda: scope.fps() > 0, what="a number of frames a second")
    before = scope.look()
    wait_until(lambda: scope.look().hash != before.hash, what="another picture")
    assert min(scope.look().inked[N_FRONTAL:]) > 0.95


def test_what_is_recorded_and_marked_is_on_the_sessions_page(portal, scope):
    expect(scope.button("record")).to_be_enabled()
    scope.button("record").click()
    expect(scope.button("record")).to_have_text("■ Stop recording")
    expect(scope.part("elapsed")).to_contain_text(re.compile(r"00:0[2-9]"))
    mark(scope, "eyes closed")
    expect(scope.part("message")).not_to_contain_text("not kept")
    scope.button("record").click()
    expect(scope.part("message")).to_contain_text("is complete")
    expect(scope.button("record")).to_have_text("● Record")
    expect(scope.part("status")).to_have_text("streaming")

    scope.part("message").get_by_role("link", name="Look at it").click()
    row = portal.page.locator("#result_list tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Completed")
    row.locator("th a").click()
    seconds = float(re.fullmatch(r"(\d+\.\d) s", portal.field("Duration"))[1])
    assert seconds >= 2
    assert int(portal.field("Data points").replace(",", "")) / 250 == pytest.approx(
        seconds, abs=0.06
    )
    assert portal.field("Artifacts").endswith("%")
    (event,) = portal.tab("Events")
    assert event["Label"] == "eyes closed"
    assert 0 < int(event["Sample"]) < 250 * seconds
    assert float(event["At"].removesuffix(" s")) == pytest.approx(
        int(event["Sample"]) / 250, abs=0.006
    )


def test_a_page_that_is_opened_while_a_session_records_knows_it(lab, portal, scope):
    scope.button("record").click()
    expect(scope.button("record")).to_have_text("■ Stop recording")
    mark(scope, "before")
    again = portal.scope(lab.device_id())
    expect(again.button("record")).to_have_text("■ Stop recording")
    again.part("window").select_option("30")  # it took a while to get here
    wait_until(lambda: again.look().marker, what="the marker of before")
    again.button("record").click()
    expect(again.button("record")).to_have_text("● Record")


def test_every_study_can_be_chosen_however_many_there_are(lab, portal):
    # Of a client of their own: the tests' own sees one study, as those of the seed document ask.
    made = lab.manage("create_client", "--name", "many", "--scopes", "admin", "--json")
    with replace(lab, client=json.loads(made)).api() as api:
        for number in range(51):  # a page has fifty
            api.post("studies", json={"name": f"study {number}"}).raise_for_status()
        total = api.get("studies").json()["pagination"]["total"]
    scope = portal.scope(lab.device_id())
    options = scope.part("study").locator("option")
    expect(options.filter(has_text="study 50")).to_have_count(1)
    assert options.count() >= total > 50


def test_pause_freezes_the_picture_while_the_stream_goes_on(portal, scope):
    scope.button("pause").click()
    expect(scope.button("pause")).to_have_text("Resume")
    frozen = scope.look()
    n_packets = len(portal.frames.packets())
    wait_until(
        lambda: scope.let_it_draw() or len(portal.frames.packets()) > n_packets + 10,
        what="packets behind the paused picture",
    )
    assert scope.look() == frozen
    scope.button("pause").click()
    expect(scope.button("pause")).to_have_text("Pause")
    wait_until(lambda: scope.look().hash != frozen.hash, what="the picture going on")
    assert min(scope.look().inked[N_FRONTAL:]) > 0.95


def test_the_switch_shows_the_signal_as_the_board_sent_it(portal, scope):
    def level(filtered):
        """How far a packet of what was asked for is from zero, in microvolts."""
        packets = wait_until(
            lambda: scope.let_it_draw(5) or portal.frames.packets_as_asked(),
            what="packets as asked for",
        )
        wishes = [m["filtered"] for m in portal.frames.sent if m["type"] == "subscribe"]
        assert wishes[-1] is filtered
        columns = zip(*packets[-1]["samples"], strict=True)
        return max(abs(sum(column) / len(column)) for column in columns)

    assert scope.part("filtered").is_checked()
    assert level(filtered=True) < 500
    scope.part("filtered").uncheck()
    assert level(filtered=False) > 500  # an electrode's offset is millivolts
    wait_until(lambda: min(scope.look().inked) > 0.95, what="raw traces in every lane")
    scope.part("filtered").check()
    assert level(filtered=True) < 500


def test_gain_and_time_base_change_the_scale_of_what_is_on_the_screen(scope):
    mark(scope, "ruler")
    scope.button("pause").click()
    five = scope.look()
    scope.part("window").select_option("10")
    scope.let_it_draw()
    ten = scope.look()
    assert five.right - five.marker == pytest.approx(2 * (ten.right - ten.marker), abs=4)
    scope.part("window").select_option("5")
    scope.let_it_draw()
    assert scope.look().marker == five.marker
    scope.part("gain").select_option("10")
    scope.let_it_draw()
    assert scope.look().ink > 1.5 * five.ink
    scope.part("gain").select_option("5000")
    scope.let_it_draw()
    assert scope.look().ink < five.ink


def test_the_keys_do_what_the_buttons_do(scope):
    scope.part("canvas").focus()
    scope.page.keyboard.press("Space")
    expect(scope.button("pause")).to_have_text("Resume")
    scope.page.keyboard.press("+")
    expect(scope.part("gain")).to_have_value("25")
    scope.page.keyboard.press("-")
    expect(scope.part("gain")).to_have_value("50")
    scope.page.keyboard.press("ArrowRight")
    expect(scope.part("window")).to_have_value("10")
    scope.page.keyboard.press("f")
    expect(scope.part("filtered")).not_to_be_checked()
    scope.page.keyboard.press("m")
    expect(scope.part("label")).to_be_focused()
    scope.page.keyboard.type("f + m")
    expect(scope.part("label")).to_have_value("f + m")
    expect(scope.part("filtered")).not_to_be_checked()


def test_the_scope_takes_the_colours_of_the_theme(scope):
    def brightness():
        return scope.page.evaluate(
            """() => {
              const canvas = document.querySelector('[data-role="canvas"]');
              const corner = canvas.getContext('2d').getImageData(2, canvas.height - 2, 1, 1).data;
              return corner[0] + corner[1] + corner[2];
            }"""
        )

    scope.page.keyboard.press("Control+e")  # the portal's own key: light, dark, light
    wait_until(lambda: brightness() > 700, what="a light screen")
    scope.page.keyboard.press("Control+e")
    wait_until(lambda: brightness() < 150, what="a dark screen")
    assert min(scope.look().inked[N_FRONTAL:]) > 0.95
