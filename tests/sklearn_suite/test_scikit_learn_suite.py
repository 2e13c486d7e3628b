"""scikit-learn's own tests of linear models pass on fastgd, but for those in the table."""

import pytest

pytest.importorskip("sklearn.linear_model.tests", reason="this scikit-learn was installed without its tests")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_scikit_learn_tests_fail_only_where_the_table_says_so(python):
    python("-m", "tests.sklearn_suite")
