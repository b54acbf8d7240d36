"""The settings of a lab, with two views more to compare with; for `benchmarks/http.py`."""

from neurascale.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.http_urls"
# Counted as ever, and never used up.
RATE_LIMITS = dict.fromkeys(("standard", "bulk"), "1000000000/hour")
