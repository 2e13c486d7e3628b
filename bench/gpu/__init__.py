"""The GPU's own benchmark: python -m bench.gpu, one command that checks results and then measures."""
