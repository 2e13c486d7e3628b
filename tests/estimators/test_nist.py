"""Certified values of NIST's Statistical Reference Datasets (StRD, linear regression; public domain): six digits."""

import numpy as np
import pytest

from fastgd import LinearRegression

# y and x of each observation.
NORRIS = """
0.1 0.2  338.8 337.4  118.1 118.2  888.0 884.6  9.2 10.1  228.1 226.5  668.5 666.3  998.5 996.3  449.1 448.6
778.9 777.0  559.2 558.2  0.3 0.4  0.1 0.6  778.1 775.5  668.8 666.9  339.3 338.0  448.9 447.5  10.8 11.6
557.7 556.0  228.3 228.1  998.0 995.8  888.8 887.6  119.6 120.2  0.3 0.3  0.6 0.3  557.6 556.8  339.3 339.1
888.0 887.2  998.5 999.0  778.9 779.0  10.2 11.1  117.6 118.3  228.9 229.2  668.4 669.1  449.2 448.9  0.2 0.5
"""
PONTIUS = """
.11019 150000  .21956 300000  .32949 450000  .43899 600000  .54803 750000  .65694 900000  .76562 1050000
.87487 1200000  .98292 1350000  1.09146 1500000  1.20001 1650000  1.30822 1800000  1.41599 1950000  1.52399 2100000
1.63194 2250000  1.73947 2400000  1.84646 2550000  1.95392 2700000  2.06128 2850000  2.16844 3000000  .11052 150000
.22018 300000  .32939 450000  .43886 600000  .54798 750000  .65739 900000  .76596 1050000  .87474 1200000
.98300 1350000  1.09150 1500000  1.20004 1650000  1.30818 1800000  1.41613 1950000  1.52408 2100000  1.63159 2250000
1.73965 2400000  1.84696 2550000  1.95445 2700000  2.06177 2850000  2.16829 3000000
"""
NOINT1 = "130 60  131 61  132 62  133 63  134 64  135 65  136 66  137 67  138 68  139 69  140 70"


def observations(text):
    y, x = np.array(text.split(), dtype=float).reshape(-1, 2).T
    return x[:, None], y


def agree(found, certified):
    """Six digits of each."""
    np.testing.assert_allclose(found, certified, rtol=5e-7)


def test_norris():
    x, y = observations(NORRIS)
    assert len(y) == 36
    model = LinearRegression(tol=1e-12).fit(x, y)
    agree([model.intercept_, *model.coef_], [-0.262323073774029, 1.00211681802045])
    agree(model.fit_report_["objective"] * 2 * 36 / 34, 0.884796396144373**2)
    agree(1.0 - model.score(x, y), 1.0 - 0.999993745883712)


def test_pontius():
    """A parabola over x up to 3e6: columns in units of 1e6 and 1e13."""
    x, y = observations(PONTIUS)
    assert len(y) == 40
    model = LinearRegression(tol=1e-13).fit(np.hstack([x, x**2]), y)
    certified = [0.673565789473684e-03, 0.732059160401003e-06, -0.316081871345029e-14]
    agree([model.intercept_, *model.coef_], certified)
    agree(model.fit_report_["objective"] * 2 * 40 / 37, 0.205177424076185e-03**2)


@pytest.mark.parametrize("standardize", [True, False])
def test_noint1(standardize):
    x, y = observations(NOINT1)
    model = LinearRegression(fit_intercept=False, standardize=standardize, tol=1e-12).fit(x, y)
    agree(model.coef_, [2.07438016528926])
    assert model.intercept_ == 0.0
    agree(model.fit_report_["objective"] * 2 * 11 / 10, 3.56753034006338**2)
