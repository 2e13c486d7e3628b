"""Sparse rows on the CPU: matrices in compressed sparse row format, and data sets of them."""
