"""A second of signal gets the word it deserves."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.quality import VERDICTS, QualityMeter, judge, overall
from neurascale.core.chunk import Chunk

SFREQ = 250.0
SECONDS = np.arange(250) / SFREQ
FULL_SCALE_UV = 187_500.0
rng = np.random.default_rng(7)


def sine(amplitude_uv, frequency):
    return amplitude_uv * np.sin(2 * np.pi * frequency * SECONDS + 0.3)


def verdict_on(signal, sfreq=SFREQ):
    data = np.asarray(signal, dtype=np.float32)[np.newaxis]
    return judge(data, sfreq=sfreq, full_scale_uv=np.array([FULL_SCALE_UV]))[0]


def blink(amplitude_uv):
    """Return the bump of a blink, 0.3 s wide, in the middle of the second."""
    return amplitude_uv * np.exp(-(((SECONDS - 0.5) / 0.1) ** 2))


@pytest.mark.parametrize(
    ("signal", "verdict", "reason"),
    [
        (sine(20, 10), "excellent", None),
        (sine(40, 10), "good", None),
        (sine(75, 10), "fair", "noisy"),
        (sine(200, 3), "poor", "noisy"),
        (sine(400, 22), "bad", "noisy"),
        (sine(10, 10) + blink(300), "poor", "noisy"),
        (np.full(250, 1234.0), "bad", "flat"),
        (sine(0.4, 10), "bad", "flat"),
        (sine(0.6, 10), "excellent", None),
        (np.full(250, FULL_SCALE_UV), "bad", "railed"),
        (sine(20, 10) - 0.91 * FULL_SCALE_UV, "bad", "railed"),
        (sine(20, 10) + 0.89 * FULL_SCALE_UV, "excellent", None),
        (np.r_[sine(20, 10)[:-1], FULL_SCALE_UV], "bad", "railed"),
    ],
)
def test_amplitude_and_rails_decide(signal, verdict, reason):
    assert verdict_on(signal) == (verdict, reason)


@pytest.mark.parametrize("offset_uv", [-1e5, 0, 1e5])
@pytest.mark.parametrize("drift_uv_per_second", [-500, 0, 500])
def test_an_electrode_s_offset_and_drift_are_no_artefact(offset_uv, drift_uv_per_second):
    signal = sine(20, 10) + offset_uv + drift_uv_per_second * SECONDS
    assert verdict_on(signal) == ("excellent", None)


@pytest.mark.parametrize("mains", [50, 60, 100, 120])
def test_hum_is_no_artefact_unless_it_is_extreme(mains):
    assert verdict_on(sine(20, 10) + sine(400, mains)) == ("excellent", None)
    assert verdict_on(sine(20, 10) + sine(600, mains)) == ("poor", "hum")
    assert verdict_on(sine(400, 10) + sine(600, mains)) == ("bad", "hum")


def test_hum_above_nyquist_is_not_looked_for():
    seconds = np.arange(100) / 100
    assert verdict_on(20 * np.sin(2 * np.pi * 10 * seconds), 100.0) == ("excellent", None)


def test_channels_are_judged_each_by_itself():
    data = np.stack([sine(20, 10), sine(75, 10), np.zeros(250)]).astype(np.float32)
    assert judge(data, sfreq=SFREQ) == [
        ("excellent", None),
        ("fair", "noisy"),
        ("bad", "flat"),
    ]


def test_without_a_scale_nothing_is_railed():
    data = (sine(20, 10) + FULL_SCALE_UV)[np.newaxis].astype(np.float32)
    assert judge(data, sfreq=SFREQ) == [("excellent", None)]


# --- second by second ----------------------------------------------------------------------------


def chunks_of(data, edges, first_sample=0, sfreq=SFREQ):
    for begin, end in itertools.pairwise(edges):
        yield Chunk(data[:, begin:end], sfreq, first_sample + begin, 0)


@given(cuts=st.lists(st.integers(1, 1099), max_size=20).map(sorted))
@settings(deadline=None)
def test_the_same_seconds_are_judged_however_the_stream_is_cut(cuts):
    data = np.random.default_rng(0).normal(0, 10, (2, 1100)).astype(np.float32)
    data[1, 600] = 1000
    whole = QualityMeter(2, SFREQ).feed(Chunk(data, SFREQ, 40, 0))
    meter = QualityMeter(2, SFREQ)
    found = [w for c in chunks_of(data, [0, *cuts, 1100], 40) for w in meter.feed(c)]
    assert found == whole
    assert [(w.first_sample, w.n_times) for w in found] == [(40 + 250 * k, 250) for k in range(4)]
    assert [w.has_artifact for w in found] == [False, False, True, False]


def test_a_second_never_spans_a_gap():
    meter = QualityMeter(1, SFREQ)
    data = rng.normal(0, 10, (1, 400)).astype(np.float32)
    assert [w.first_sample for w in meter.feed(Chunk(data, SFREQ, 0, 0))] == [0]
    assert [w.first_sample for w in meter.feed(Chunk(data, SFREQ, 401, 0))] == [401]
    assert [w.first_sample for w in meter.feed(Chunk(data[:, :99], SFREQ, 801, 0))] == []
    assert [w.first_sample for w in meter.feed(Chunk(data[:, :1], SFREQ, 900, 0))] == [651]


def test_the_rails_are_those_of_each_channel_s_gain():
    scale_uv = np.array([1.0, 0.01])
    signal = sine(20, 10) + 80_000
    meter = QualityMeter(2, SFREQ, scale_uv)
    data = np.stack([signal, signal]).astype(np.float32)
    (window,) = meter.feed(Chunk(data, SFREQ, 0, 0))
    assert window.verdicts == ("excellent", "bad")
    assert window.reasons == (None, "railed")
    assert window.has_artifact


def test_a_rate_that_is_no_whole_number_gives_the_nearest_whole_second():
    (window,) = QualityMeter(1, 255.6).feed(
        Chunk(rng.normal(0, 10, (1, 256)).astype(np.float32), 255.6, 0, 0)
    )
    assert window.n_times == 256


# --- of many -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["good"], "good"),
        (["excellent", "excellent", "bad"], "excellent"),
        (["excellent", "bad"], "bad"),
        (["excellent", "good", "fair", "poor", "bad"], "fair"),
        (["good"] * 7 + ["bad"], "good"),
    ],
)
def test_overall_is_what_half_of_them_reach(verdicts, expected):
    assert overall(verdicts) == expected
    assert overall(reversed(verdicts)) == expected


def test_nothing_has_no_quality():
    assert overall([]) is None


@given(st.lists(st.sampled_from(VERDICTS), min_size=1))
def test_at_least_half_reach_it(verdicts):
    rank = VERDICTS.index(overall(verdicts))
    assert sum(VERDICTS.index(v) <= rank for v in verdicts) >= len(verdicts) / 2
