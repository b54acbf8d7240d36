"""What the firmware prints when asked for its registers (`?`)."""

from __future__ import annotations

from devices.virtual.ads1299 import Ads1299, Register

# The accelerometer's registers after the firmware has set it up: address, value. 0x33 is its
# identity; CTRL_REG1 says low power while not streaming, CTRL_REG4 says 4 g at high resolution.
LIS3DH_GROUPS = (
    {
        **{0x07: 0x00, 0x08: 0x00, 0x09: 0x00, 0x0A: 0x00, 0x0B: 0x00},
        **{0x0C: 0x00, 0x0D: 0x00, 0x0E: 0x00, 0x0F: 0x33},
    },
    {
        **{0x1F: 0x00, 0x20: 0x08, 0x21: 0x00, 0x22: 0x00, 0x23: 0x18, 0x24: 0x00, 0x25: 0x00},
        **{0x26: 0x00, 0x27: 0x00, 0x28: 0x00, 0x29: 0x00, 0x2A: 0x00, 0x2B: 0x00, 0x2C: 0x00},
        **{0x2D: 0x00, 0x2E: 0x00, 0x2F: 0x20, 0x30: 0x00, 0x31: 0x00, 0x32: 0x00, 0x33: 0x00},
    },
    {0x38 + i: 0x00 for i in range(6)},
)


def report(chip: Ads1299) -> str:
    """Return one line a register: name, address, value, and the value's bits."""
    lines = []
    for register in Register:
        bits = ", ".join(f"{chip[register]:08b}")
        lines.append(f"{register.name}, {register:02X}, {chip[register]:02X}, {bits}\n")
    return "".join(lines)


def lis3dh_report() -> str:
    """Return one line a register of the accelerometer, in three groups."""
    groups = (
        "".join(f"0x{address:02X} {value:02X}\n" for address, value in group.items())
        for group in LIS3DH_GROUPS
    )
    return "\n".join(groups)
