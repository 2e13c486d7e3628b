"""Who implements the verbs of `fastgd.objective.objective`: one module a device."""
