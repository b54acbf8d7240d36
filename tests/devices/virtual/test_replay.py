import edfio
import numpy as np
import pytest
from scipy.signal import resample_poly

from devices.errors import InvalidBoardSettingsError
from devices.virtual import Recording
from tests.machine import S001R04


@pytest.fixture
def edf(tmp_path):
    """A file of two seconds at 250 Hz: channel c is a ramp of c + 1 microvolts a sample."""
    ramp = np.arange(500.0) - 250
    signals = [
        edfio.EdfSignal(
            (c + 1) * ramp, 250, label=label, physical_dimension=unit, physical_range=(-3000, 3000)
        )
        for c, (label, unit) in enumerate([("C3..", "uV"), ("Cz..", "uV"), ("EMG", "mV")])
    ]
    notes = [edfio.EdfAnnotation(0.1, 1.0, "T1"), edfio.EdfAnnotation(1.5, None, "T0")]
    path = tmp_path / "ramps.edf"
    edfio.Edf(signals, annotations=notes).write(path)
    return path


def test_channels_are_found_without_dots_and_whatever_their_case(edf):
    recording = Recording(edf, ch_names=["cz", "C3"])
    assert np.allclose(recording.data_uv[0], 2 * recording.data_uv[1], atol=0.2)
    assert not recording.data_uv[2:].any()


def test_millivolts_become_microvolts(edf):
    recording = Recording(edf, ch_names=["EMG"])
    assert recording.data_uv[0, 0] == pytest.approx(-750_000, abs=100)


def test_counts_are_what_a_perfect_receiver_gets(edf):
    recording = Recording(edf, ch_names=["C3"])
    microvolts = recording.data_uv[0, 0]
    assert microvolts == pytest.approx(-250, abs=0.1)
    assert recording.expected_counts()[0, 0] == round(microvolts * 24 * (2**23 - 1) / 4.5e6)
    gains = [1] + [24] * 7
    assert recording.expected_counts(gains)[0, 0] == round(microvolts * (2**23 - 1) / 4.5e6)


def test_at_its_end_a_recording_begins_again_or_is_flat_or_stops(edf):
    loop, flat, stop = (Recording(edf, at_end=at_end) for at_end in ("loop", "flat", "stop"))
    assert (loop.read(490, 20)[:, 10:] == loop.read(0, 10)).all()
    assert not flat.read(490, 20)[:, 10:].any()
    assert (loop.stop_sample, flat.stop_sample, stop.stop_sample) == (None, None, 500)


def test_annotations_are_at_their_sample_and_texts_are_numbered(edf):
    recording = Recording(edf)
    assert [(mark.sample, mark.text, chr(mark.value)) for mark in recording.marks] == [
        (25, "T1", "1"),
        (375, "T0", "0"),
    ]
    assert recording.annotations(25)[0].text == "T1"
    assert recording.annotations(525)[0].text == "T1"  # the second time round
    assert not recording.annotations(26)


def test_a_missing_channel_is_answered_with_those_there_are(edf):
    with pytest.raises(InvalidBoardSettingsError, match="no channel Pz") as caught:
        Recording(edf, ch_names=["C3", "Pz"])
    assert "C3" in caught.value.details["suggestion"]


def test_more_channels_than_the_board_has_are_refused(edf):
    with pytest.raises(InvalidBoardSettingsError, match="9 channels were asked for"):
        Recording(edf, ch_names=["C3"] * 9)


@pytest.mark.parametrize("content", [None, b"no EDF at all"])
def test_a_file_that_is_none_is_an_error_that_says_so(tmp_path, content):
    path = tmp_path / "x.edf"
    if content:
        path.write_bytes(content)
    with pytest.raises(InvalidBoardSettingsError, match=r"x\.edf cannot be replayed"):
        Recording(path)


def test_a_recording_does_not_listen(edf):
    with pytest.raises(InvalidBoardSettingsError, match="does not listen"):
        Recording(edf).command("eyes closed", 0)


def test_160_hz_is_resampled_to_250():
    recording = Recording(S001R04, ch_names=["C3", "Cz", "C4"])
    file = edfio.read_edf(S001R04)
    assert recording.n_times == 31_250
    original = file.get_signal("C3..").data
    assert original.size == 20_000
    back = resample_poly(recording.data_uv[0], 16, 25, padtype="line")
    # What is left is above the filters' edges near 80 Hz, a few per cent of the signal.
    assert np.std(back - original) < 0.1 * np.std(original)
    assert len(recording.marks) == 30


def test_without_names_the_channels_are_those_over_the_motor_cortex():
    recording = Recording(S001R04)
    assert recording.ch_names == ("FC3", "FCz", "FC4", "C3", "Cz", "C4", "CP3", "CP4")
