"""The benchmark of the GPU: python -m bench.gpu, one command that checks results and then measures."""
