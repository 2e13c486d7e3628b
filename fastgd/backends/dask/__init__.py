"""Data sets whose rows are partitions on the workers of a Dask cluster."""
