"""The loops for NVIDIA GPUs: the names and contracts of `cpu`, with threads instead of vectors.

Imported only by `fastgd.backends.cuda` when a fit uses a GPU; needs numba-cuda.
"""
