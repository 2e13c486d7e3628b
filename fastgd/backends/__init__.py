"""Who implements the verbs of `fastgd.objective`: one module a device."""
