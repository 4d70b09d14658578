"""Benchmarks: the cost of probed and of comparable programs, side by side in one run (`make bench`)."""
