"""From the wire form of filters to one cascade."""

import subprocess
import sys

import numpy as np
import pytest

from ingest.errors import InvalidFilterError
from ingest.filters import chain, filters
from ingest.filters.sos import SosFilter

SEED = {"notch": 60, "bandpass": [1, 50]}
SFREQ = 250.0


def gain_at(filter_, frequency, sfreq=SFREQ):
    """Return by how much a sine comes out larger, once the filter has settled."""
    seconds = np.arange(int(20 * sfreq)) / sfreq
    sine = np.sin(2 * np.pi * frequency * seconds)[np.newaxis].astype(np.float32)
    tail = filter_(sine)[0, int(10 * sfreq) :]
    return np.sqrt(2 * np.mean(tail.astype(np.float64) ** 2))


def test_the_seed_s_filters_keep_alpha_and_remove_hum_drift_and_offset():
    assert gain_at(chain(SEED, sfreq=SFREQ), 10) == pytest.approx(1, abs=0.01)
    assert gain_at(chain(SEED, sfreq=SFREQ), 60) < 1e-4
    assert gain_at(chain(SEED, sfreq=SFREQ), 0.1) < 1e-3
    constant = np.full((1, 100), 1e5, dtype=np.float32)
    assert np.abs(chain(SEED, sfreq=SFREQ)(constant)).max() < 0.05


def test_the_edges_of_a_band_are_at_3_db():
    band = {"bandpass": [8, 12]}
    for edge in (8, 12):
        assert gain_at(chain(band, sfreq=SFREQ), edge) == pytest.approx(10 ** (-3 / 20), abs=0.01)


def test_the_width_of_a_notch_is_its_frequency_over_its_quality():
    for edge in (59, 61):
        found = gain_at(chain({"notch": 60}, sfreq=SFREQ), edge)
        assert found == pytest.approx(10 ** (-3 / 20), abs=0.01)


def test_order_means_6_db_an_octave_each():
    band = {"bandpass": {"low": 1, "high": 8, "order": 2}}
    octave = gain_at(chain(band, sfreq=2000.0), 64, 2000.0) / gain_at(
        chain(band, sfreq=2000.0), 32, 2000.0
    )
    assert 20 * np.log10(octave) == pytest.approx(-12, abs=0.3)


def test_several_filters_are_one_cascade_whatever_their_order_on_the_wire():
    forwards = chain(SEED, sfreq=SFREQ)
    backwards = chain(dict(reversed(SEED.items())), sfreq=SFREQ)
    assert forwards.sos.shape == (5, 6)
    assert np.array_equal(forwards.sos, backwards.sos)


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_filters_are_no_filter(nothing):
    assert chain(nothing, sfreq=SFREQ) is None


def test_two_streams_with_the_same_filters_share_no_memory():
    rng = np.random.default_rng(1)
    data = rng.standard_normal((2, 50)).astype(np.float32)
    first, second = chain(SEED, sfreq=SFREQ), chain(SEED, sfreq=SFREQ)
    expected = first(data)
    first(data)
    assert np.array_equal(second(data), expected)


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        ([60], "must be an object"),
        ({"wavelet": 3}, r"no filter 'wavelet'; there are: bandpass, notch"),
        ({"notch": 125}, "between 0 and 125 Hz"),
        ({"notch": [50, 60]}, "ask like 60"),
        ({"notch": True}, "must be a finite number, not True"),
        ({"notch": None}, "must be a finite number, not None"),
        ({"notch": "60"}, "must be a finite number, not '60'"),
        ({"notch": float("nan")}, "must be a finite number, not nan"),
        ({"notch": {"frequency": 60, "sfreq": 500}}, "object of frequency, quality"),
        ({"notch": {"frequency": 60, "quality": 0}}, "0.5 to 6000, not 0"),
        ({"notch": {"frequency": 60, "quality": 1e9}}, "0.5 to 6000, not 1e"),
        ({"bandpass": 5}, r"ask like \[1.0, 50.0\]"),
        ({"bandpass": {"low": 1}}, r"ask like \[1.0, 50.0\]"),
        ({"bandpass": [50, 1]}, "from 50 to 1 Hz was asked for"),
        ({"bandpass": [10, 10]}, "from 10 to 10 Hz was asked for"),
        ({"bandpass": [0, 50]}, "begin at 0.01 Hz"),
        ({"bandpass": {"low": 1, "high": 50, "order": 2.5}}, "whole number 1 to 8"),
        ({"bandpass": {"low": 1, "high": 50, "order": 9}}, "whole number 1 to 8"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_could(wire, says):
    with pytest.raises(InvalidFilterError, match=says) as refusal:
        chain(wire, sfreq=SFREQ)
    assert refusal.value.code == "VALIDATION_ERROR"
    assert refusal.value.details["fields"] == {"filters": [refusal.value.message]}


def test_the_sharpest_filters_allowed_are_stable_and_know_when_they_settle():
    for wire in (
        {"bandpass": {"low": 0.01, "high": 100, "order": 8}},
        {"bandpass": {"low": 10, "high": 10.01, "order": 8}},
        {"notch": {"frequency": 60, "quality": 6000}},
    ):
        assert 0 < chain(wire, sfreq=SFREQ).settle_samples(0.01, 1000.0) < 3600 * SFREQ


def test_an_unstable_filter_is_a_programming_error():
    with pytest.raises(ValueError, match="unstable"):
        SosFilter([[1, 0, 0, 1, -2, 1]])


def test_a_filter_without_feedback_settles_when_its_taps_are_full():
    assert SosFilter([[1, 1, 1, 1, 0, 0]]).settle_samples(0.01, 100.0) == 2


def test_within_the_tolerance_there_is_nothing_to_settle():
    assert filters["notch"].make(sfreq=SFREQ, frequency=60).settle_samples(1.0, 1.0) == 0


def test_a_process_that_filters_nothing_does_not_load_scipy():
    program = (
        "import sys; from ingest.filters import chain; chain({}, sfreq=250.0); "
        "sys.exit('scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
