"""NVIDIA GPUs. All modules but `driver` need numba-cuda, and are imported when a fit asks for a GPU."""
