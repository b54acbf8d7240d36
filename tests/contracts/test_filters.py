"""What every filter promises, whoever writes it: the registry is the list."""

import inspect
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import InvalidFilterError
from ingest.filters import chain, filters

SFREQ = 250.0
rng = np.random.default_rng(20)


def eeg_like(n_channels=3, n_times=2000):
    """Return noise of 50 µV on electrode offsets of up to 100 mV, float32."""
    offsets = rng.uniform(-1e5, 1e5, (n_channels, 1))
    return (offsets + 50 * rng.standard_normal((n_channels, n_times))).astype(np.float32)


SIGNAL = eeg_like()


@pytest.fixture(params=list(filters), ids=lambda plugin: plugin.name)
def plugin(request):
    return request.param


@pytest.fixture
def make(plugin):
    """Return a function that makes a fresh filter of the plug-in's example."""
    return lambda: plugin.make(sfreq=SFREQ, **plugin.example)


def test_there_are_the_two_filters_of_the_seed():
    assert {"notch", "bandpass"} <= set(filters.names)


def test_the_example_names_the_filter_s_own_arguments(plugin):
    plugin.check(sfreq=SFREQ, **plugin.example)
    required = {
        name
        for name, parameter in inspect.signature(plugin.make).parameters.items()
        if parameter.default is inspect.Parameter.empty
    }
    assert required - {"sfreq"} == plugin.example.keys()


def test_the_first_line_says_what_it_does(plugin):
    assert plugin.summary.endswith(".")


def test_microvolts_come_back_in_the_same_shape_as_float32(make):
    filtered = make()(SIGNAL)
    assert filtered.shape == SIGNAL.shape
    assert filtered.dtype == np.float32
    assert np.isfinite(filtered).all()


def test_the_input_is_left_as_it_is(make):
    data = SIGNAL.copy()
    data.flags.writeable = False
    make()(data)
    assert np.array_equal(data, SIGNAL)


def test_the_future_does_not_change_the_past(make):
    changed = SIGNAL.copy()
    changed[:, 700:] += 1000
    filtered, other = make()(SIGNAL), make()(changed)
    assert np.array_equal(filtered[:, :700], other[:, :700])
    assert not np.array_equal(filtered[:, 700:], other[:, 700:])


def test_a_channel_knows_nothing_of_its_neighbours(make):
    alone = make()(SIGNAL[1:2])
    assert np.array_equal(alone, make()(SIGNAL)[1:2])


@given(cuts=st.lists(st.integers(0, 400), max_size=12).map(sorted))
@settings(max_examples=25, deadline=None)
def test_chunks_join_without_a_seam_wherever_they_are_cut(cuts):
    for plugin in filters:
        data = SIGNAL[:, :400]
        live = plugin.make(sfreq=SFREQ, **plugin.example)
        edges = [0, *cuts, 400]
        pieces = [live(data[:, a:b]) for a, b in itertools.pairwise(edges)]
        whole = plugin.make(sfreq=SFREQ, **plugin.example)(data)
        assert np.array_equal(np.concatenate(pieces, axis=1), whole)


def test_it_starts_from_the_offset_without_ringing(make):
    filter_ = make()
    constant = np.full((2, 500), 1e5, dtype=np.float32)
    filtered = filter_(constant)
    assert np.abs(filtered - filtered[:, :1]).max() < 0.05


def test_after_a_reset_it_is_as_new(make):
    used = make()
    used(SIGNAL[:, :300])
    used.reset()
    assert np.array_equal(used(SIGNAL[:, 300:]), make()(SIGNAL[:, 300:]))


def test_it_is_stable(make):
    poles = np.concatenate([np.roots(section[3:]) for section in make().sos])
    assert np.abs(poles).max() < 1


@pytest.mark.parametrize("amplitude_uv", [100.0, 2e5])
def test_settled_means_that_what_came_before_is_forgotten(make, amplitude_uv):
    n_settle = make().settle_samples(0.01, amplitude_uv)
    past = amplitude_uv * rng.integers(0, 2, (4, 3 * n_settle))
    now = amplitude_uv * rng.integers(0, 2, (4, n_settle + 50))
    data = np.concatenate([past, now], axis=1)
    live = make()(data)[:, past.shape[1] + n_settle :]
    replayed = make()(now)[:, n_settle:]
    # float32 holds 2e5 µV to 0.016 µV: the filter is as exact as its output can say.
    assert np.abs(live - replayed).max() <= 0.01 + np.spacing(np.float32(amplitude_uv))


def test_settling_takes_no_longer_than_it_has_to(make):
    n_settle = make().settle_samples(0.01, 2e5)
    # The worst that the past can do: every sample pushes the way its weight points.
    impulse = np.zeros((1, 3 * n_settle))
    impulse[0, 1] = 1.0  # the first sample is the offset it starts from
    weights = make()(impulse)[0, 1:].astype(np.float64)
    assert 2e5 * np.abs(weights[n_settle:]).sum() <= 0.011
    assert 2e5 * np.abs(weights[n_settle // 2 :]).sum() > 0.01


@pytest.mark.parametrize("sfreq", [125.0, 250.0, 1000.0])
def test_it_refuses_the_nyquist_frequency_and_what_is_above(plugin, sfreq):
    highest = max(plugin.example, key=lambda keyword: plugin.example[keyword])
    for frequency in (sfreq / 2, sfreq, 0.0, -1.0):
        with pytest.raises(InvalidFilterError, match=f"{sfreq:g} Hz"):
            plugin.make(sfreq=sfreq, **{**plugin.example, highest: frequency})


def test_it_can_be_asked_for_on_the_wire_with_its_example(plugin, make):
    values = list(plugin.example.values())
    forms = [values, dict(plugin.example), *(values if len(values) == 1 else [])]
    for form in forms:
        built = chain({plugin.name: form}, sfreq=SFREQ)
        assert np.array_equal(built.sos, make().sos)
