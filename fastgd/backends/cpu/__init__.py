"""The CPU: NumPy and compiled kernels over rows in memory."""
