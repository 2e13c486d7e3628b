"""The loops for NVIDIA GPUs: the names and contracts of `cpu`, threads in place of vectors.

Imported by `fastgd.backends.cuda.stream` alone, when a fit asks for a GPU; needs numba-cuda.
"""
