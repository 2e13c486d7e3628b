"""Implementations of the data set protocols in `fastgd.objective.dataset`, one package per device."""
