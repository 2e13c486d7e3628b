"""The benchmark framework: problems, jobs, rivals, timing and results; installed as ``fastgd.bench``."""
