"""Kill everything at random moments of a recording; then count every sample.

`python -m tests.torture --kills 300 --seed 1` is `make torture`.
"""
