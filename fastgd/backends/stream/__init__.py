"""Data sets whose rows are read block by block in every pass."""
