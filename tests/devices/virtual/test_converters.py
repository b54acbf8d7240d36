import numpy as np
import pytest

from devices.virtual.ads1299 import GAINS, Ads1299, Register, to_counts
from devices.virtual.firmware import Firmware

GOOD_KOHM = np.full(8, 5.0)


def told(command: str) -> Ads1299:
    """Return the board's converter after a command."""
    firmware = Firmware()
    firmware.receive(command.encode(), 0)
    return firmware.converters.chips[0]


def flat(uv: float, n_times: int = 512) -> np.ndarray:
    return np.full((8, n_times), uv)


@pytest.mark.parametrize(("code", "gain"), list(enumerate(GAINS)))
def test_the_gain_code_changes_the_counts(code, gain):
    chip = told(f"x10{code}0110X")
    counts = chip.convert(flat(1000.0), 0, GOOD_KOHM)
    # docs.openbci.com, CytonDataFormat: 4.5 V / gain / (2^23 - 1) a count.
    assert counts[0, 0] == round(1000.0 / (4.5e6 / gain / (2**23 - 1)))
    assert counts[1, 0] == round(1000.0 / (4.5e6 / 24 / (2**23 - 1)))


def test_the_converter_stops_at_its_rails():
    assert to_counts([[1e7, -1e7, 187500.0]], 24).tolist() == [[2**23 - 1, -(2**23), 2**23 - 1]]


def test_a_channel_that_is_off_reads_zero_until_it_is_on_again():
    firmware = Firmware()
    chip = firmware.converters.chips[0]
    firmware.receive(b"3", 0)
    assert not chip.convert(flat(50.0), 0, GOOD_KOHM)[2].any()
    firmware.receive(b"#", 0)
    assert chip.convert(flat(50.0), 0, GOOD_KOHM)[2].all()


@pytest.mark.parametrize(
    ("command", "microvolts", "period"),
    [("-", 1875, 256), ("=", 1875, 128), ("[", 3750, 256), ("]", 3750, 128)],
)
def test_the_test_signals_are_square_waves_of_the_chips_own(command, microvolts, period):
    counts = told(command).convert(flat(1e4, 1024), 0, GOOD_KOHM)
    level = microvolts * 24 * (2**23 - 1) / 4.5e6
    assert np.allclose(np.abs(counts), level, atol=60)  # the converter's own noise
    signs = np.sign(counts[0])
    assert np.flatnonzero(np.diff(signs)).tolist() == list(
        range(period // 2 - 1, 1023, period // 2)
    )


def test_p_connects_a_constant_level():
    counts = told("p").convert(flat(1e4), 0, GOOD_KOHM)
    assert np.allclose(counts, 3750 * 24 * (2**23 - 1) / 4.5e6, atol=60)


def test_0_connects_all_inputs_to_each_other():
    counts = told("0").convert(flat(1e4, 4096), 0, GOOD_KOHM)
    microvolts = counts * 4.5e6 / 24 / (2**23 - 1)
    assert np.abs(microvolts.mean(axis=1)).max() < 0.02
    assert np.allclose(microvolts.std(axis=1), 0.14, rtol=0.1)  # SBAS499, table 1


def test_defaults_bring_the_electrodes_back():
    chip = told("0d")
    assert chip.convert(flat(50.0), 0, GOOD_KOHM)[0, 0] == round(50 * 24 * (2**23 - 1) / 4.5e6)


def test_the_temperature_sensor_reads_a_temperature():
    counts = told("x1064000X").convert(flat(0.0), 0, GOOD_KOHM)
    microvolts = counts[0].mean() * 4.5e6 / 24 / (2**23 - 1)
    assert (microvolts - 145_300) / 490 + 25 == pytest.approx(31.0, abs=0.01)


def test_the_lead_off_current_measures_the_electrode():
    kohm = GOOD_KOHM.copy()
    kohm[3] = 12.0
    chip = told("z401Z")
    counts = chip.convert(flat(0.0, 1000), 0, kohm)
    microvolts = counts * 4.5e6 / 24 / (2**23 - 1)
    # docs.openbci.com: impedance is sqrt(2) * std / 6 nA, less the 2.2 kΩ on the board.
    assert np.sqrt(2) * microvolts[3].std() * 1e-6 / 6e-9 - 2200 == pytest.approx(12_000, rel=1e-3)
    spectrum = np.abs(np.fft.rfft(microvolts[3]))
    assert np.argmax(spectrum) * 250 / 1000 == 31.25
    assert not counts[[0, 1, 2, 4, 5, 6, 7]].any()


def test_a_stretch_is_the_same_however_it_is_cut():
    whole = told("0").convert(flat(0.0, 3000), 0, GOOD_KOHM)
    parts = [told("0").convert(flat(0.0, 100), first, GOOD_KOHM) for first in (0, 1000, 2900)]
    for part, first in zip(parts, (0, 1000, 2900), strict=True):
        assert (part == whole[:, first : first + 100]).all()


def test_every_change_of_a_register_is_a_new_version():
    chip = Ads1299()
    version = chip.version
    chip[Register.CONFIG2] = 0xD0
    assert chip.version > version
