"""``python -m devices.virtual``: the virtual Cyton without Django."""

from __future__ import annotations

import argparse
import sys

from devices.virtual.options import DESCRIPTION, EPILOG, add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m devices.virtual",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
