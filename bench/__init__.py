"""Benchmarks of fastgd: problems, rivals, runners and their tracked results. Not installed; run from the checkout."""
