"""Loops over sparse rows for the CPU."""
