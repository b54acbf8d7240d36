import numpy as np
import pytest
from scipy.signal import welch

from devices.errors import InvalidBoardSettingsError
from devices.virtual.signal import Subject

MINUTE = 15_000


def rms(data: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the amplitude in a band of every channel, in microvolts."""
    freqs, power = welch(data, 250, nperseg=1000)
    band = (freqs >= low) & (freqs <= high)
    return np.sqrt(power[:, band].sum(axis=1) * (freqs[1] - freqs[0]))


def told(*commands: tuple[str, int], **options) -> Subject:
    subject = Subject(**options)
    for text, sample in commands:
        subject.command(text, sample)
    return subject


def test_the_same_seed_is_the_same_person_and_another_seed_another():
    assert (Subject(seed=3).read(500, 300) == Subject(seed=3).read(500, 300)).all()
    assert not np.allclose(Subject(seed=3).read(500, 300), Subject(seed=4).read(500, 300))


@pytest.mark.parametrize("n_at_once", [1, 7, 25, 1024, 3000])
def test_a_sample_does_not_depend_on_how_the_signal_is_cut(n_at_once):
    script = (("eyes closed", 700), ("imagine left", 1500), ("blink", 100))
    whole = told(*script).read(0, 3000)
    subject = told(*script)
    parts = [subject.read(first, n_at_once) for first in range(0, 2990, n_at_once)]
    joined = np.concatenate(parts, axis=1)[:, :3000]
    assert np.allclose(joined, whole[:, : joined.shape[1]], rtol=0, atol=1e-6)


def test_alpha_over_the_occiput_rises_when_the_eyes_close():
    subject = told(("eyes closed", MINUTE))
    open_eyes, closed_eyes = subject.read(0, MINUTE), subject.read(MINUTE + 500, MINUTE)
    o1, o2, fp1 = (subject.ch_names.index(name) for name in ("O1", "O2", "Fp1"))
    ratio = rms(closed_eyes, 8, 12) / rms(open_eyes, 8, 12)
    assert ratio[o1] > 3
    assert ratio[o2] > 3
    assert rms(closed_eyes, 8, 12)[o1] > 5 * rms(closed_eyes, 8, 12)[fp1]


@pytest.mark.parametrize(
    ("hand", "opposite", "same"), [("left", "C4", "C3"), ("right", "C3", "C4")]
)
def test_imagining_a_hand_desynchronises_mu_over_the_other_side(hand, opposite, same):
    subject = told((f"imagine {hand}", MINUTE), ("imagine nothing", 2 * MINUTE))
    rest, imagery = subject.read(0, MINUTE), subject.read(MINUTE + 500, MINUTE - 500)
    after = subject.read(2 * MINUTE + 500, MINUTE)
    quieter, other = subject.ch_names.index(opposite), subject.ch_names.index(same)
    ratio = rms(imagery, 9, 13) / rms(rest, 9, 13)
    assert ratio[quieter] < 0.6
    assert ratio[other] > 0.9
    assert (rms(after, 9, 13) / rms(rest, 9, 13))[quieter] > 0.8


@pytest.mark.parametrize("mains", [50, 60])
def test_the_hum_has_the_frequency_of_the_mains(mains):
    freqs, power = welch(Subject(mains=mains).read(0, MINUTE), 250, nperseg=1000)
    above = freqs > 30
    assert (freqs[above][np.argmax(power[:, above], axis=1)] == mains).all()


def test_blinks_are_frontal_and_need_open_eyes():
    subject = told(("eyes closed", MINUTE))
    spread = [np.ptp(subject.read(first, MINUTE), axis=1) for first in (0, MINUTE + 500)]
    assert spread[0][0] > spread[1][0] + 50
    assert abs(spread[0][6] - 100) < 400


def test_the_background_falls_with_frequency():
    data = Subject().read(0, MINUTE)
    steps = [rms(data, low, low + 2)[4] for low in (1, 5, 15, 30)]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > 3 * steps[-1]


def test_offsets_are_those_of_real_electrodes_and_fit_the_converter():
    offsets = np.abs(Subject(seed=1, n_channels=16).read(0, MINUTE).mean(axis=1))
    assert 5_000 < offsets.max() < 30_000


def test_an_electrode_that_falls_off_goes_to_the_rail_and_a_loose_one_hums():
    subject = told(("electrode 1 off", 0), ("electrode 2 loose", 0))
    data = subject.read(2500, 2500)
    assert np.abs(data[0]).min() > 187_500
    assert rms(data, 49, 51)[1] > 10 * rms(data, 49, 51)[2]


def test_an_impedance_can_be_set():
    subject = told(("impedance 3 45.5", 0))
    assert subject.impedance_kohm[2] == 45.5


@pytest.mark.parametrize("text", ["eyes shut", "imagine", "electrode 9 off", "impedance 1 x", ""])
def test_what_the_subject_does_not_understand_is_answered_with_what_it_does(text):
    with pytest.raises(InvalidBoardSettingsError) as caught:
        Subject().command(text, 0)
    assert caught.value.details["suggestion"]
