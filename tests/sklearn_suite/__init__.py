"""Run scikit-learn's own tests of linear models on the estimators of fastgd.

``python -m tests.sklearn_suite`` imports the tests from the installed scikit-learn, substitutes the estimators that
fastgd replaces by adapters, and compares the failures with `known.DEFENDED`.
"""
