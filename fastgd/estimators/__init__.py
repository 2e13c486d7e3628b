"""The scikit-learn-compatible estimators."""

from fastgd.estimators._report import FitReport
from fastgd.estimators.linear import LinearRegression
from fastgd.estimators.logistic import LogisticRegression

__all__ = ["FitReport", "LinearRegression", "LogisticRegression"]
