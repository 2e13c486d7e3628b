"""Data on their way in: files, array-likes and layouts."""
