"""The checks that `benchmarks/parity.py` runs, one file for each kind of reference numbers."""
