"""Failures of scikit-learn's tests that are right for fastgd, each with its reason."""

#: Reason by test: a pattern of ``file::test[parameters]`` in which * stands for anything.
DEFENDED: dict[str, str] = {}
