import pytest

from devices.errors import InvalidBoardSettingsError
from devices.virtual.faults import Fault, Faults, damage

FRAME = bytes([0xA0, 7, *range(30), 0xC0])


def made(text: str, **options) -> Faults:
    faults = Faults(**options)
    faults.add(text)
    return faults


def test_everything_can_be_said_in_one_line():
    faults = made(
        "drop=0.01, corrupt=0.001,truncate=0.002,burst=8:0.05,silence=10+2,unplug=20+3,"
        "drift=20,crystal=-7.5,reset=30,off=40+0.5"
    )
    assert (faults.drop, faults.corrupt, faults.truncate) == (0.01, 0.001, 0.002)
    assert (faults.burst_frames, faults.burst) == (8, 0.05)
    assert (faults.drift, faults.crystal) == (20, -7.5)
    spans = {span.kind: (span.first, span.stop) for span in faults.spans}
    assert spans == {
        "silence": (2500, 3000),
        "unplug": (5000, 5750),
        "reset": (7500, 7501),
        "off": (10_000, 10_125),
    }


WRONG = """
    drop drop=2 drop=x burst=8 burst=0:1 silence=3 silence=-1+2 unplug=now reset=1+1 flood=1 none=1
"""


@pytest.mark.parametrize("text", WRONG.split())
def test_what_is_not_in_the_grammar_is_refused_with_the_grammar(text):
    faults = Faults()
    with pytest.raises(InvalidBoardSettingsError, match="is not a fault") as caught:
        faults.add(f"drop=0.5,{text}")
    assert "silence=X+Y" in caught.value.details["suggestion"]
    assert faults.drop == 0  # all or nothing


def test_now_is_the_moment_it_is_said():
    faults = Faults()
    faults.add("silence=now+2", now=1234)
    assert not faults.covering("silence", 1233)
    assert faults.covering("silence", 1234)
    assert faults.covering("silence", 1733)
    assert not faults.covering("silence", 1734)


def test_none_ends_everything_that_goes_wrong():
    faults = made("drop=1,drift=20,silence=0+100,unplug=5+1")
    faults.add("none", now=1000)
    assert faults.fate(0) == (0, 0, 0)
    assert faults.drift == 0
    assert not faults.covering("silence", 1000)


def test_the_fate_of_a_frame_depends_on_the_seed_and_its_number_alone():
    text = "drop=0.1,corrupt=0.1,truncate=0.1,burst=4:0.1"
    fates = [made(text, seed=5).fate(n) for n in range(3000)]
    backwards = made(text, seed=5)
    assert [backwards.fate(n) for n in reversed(range(3000))][::-1] == fates
    assert [made(text, seed=6).fate(n) for n in range(100)] != fates[:100]


def test_chances_are_those_that_were_asked_for():
    faults = made("drop=0.1,corrupt=0.2,truncate=0.05")
    fates = [faults.fate(n)[0] for n in range(20_000)]
    share = {fault: fates.count(fault) / 20_000 for fault in (1, 2, 4)}
    assert share[Fault.DROPPED] == pytest.approx(0.1, abs=0.01)
    assert share[Fault.TRUNCATED] == pytest.approx(0.9 * 0.05, abs=0.01)
    assert share[Fault.CORRUPTED] == pytest.approx(0.9 * 0.95 * 0.2, abs=0.01)


def test_damage_is_what_the_detail_says():
    assert damage(FRAME, 0, 0) == FRAME
    assert damage(FRAME, int(Fault.TRUNCATED), 12) == FRAME[:12]
    assert damage(FRAME, int(Fault.CORRUPTED), 1 | 0x81 << 8) == bytes([0xA0, 7 ^ 0x81]) + FRAME[2:]
    assert damage(FRAME, int(Fault.CORRUPTED | Fault.DROPPED), 5 | 256) == b""


def test_a_corrupt_byte_always_differs_and_a_truncated_frame_is_always_shorter():
    faults = made("corrupt=0.5,truncate=0.5")
    for n in range(5000):
        fault, detail, _ = faults.fate(n)
        arrived = damage(FRAME, fault, detail)
        if fault == Fault.CORRUPTED:
            assert len(arrived) == 33
            assert sum(a != b for a, b in zip(arrived, FRAME, strict=True)) == 1
        elif fault == Fault.TRUNCATED:
            assert 1 <= len(arrived) < 33
