"""Columns of categories in frames: coded as by pandas.get_dummies, learned at fit, and kept by models."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

import fastgd
from fastgd import LinearRegression, LogisticRegression
from fastgd.exceptions import UnseenCategoryWarning
from tests.estimators.fits import refused

N = 400
CITIES = [f"city {k}" for k in range(60)]
RNG = np.random.default_rng(0)
COLUMNS = {
    "size": RNG.standard_normal(N),
    "color": RNG.choice(["red", "green", "blue"], N),
    "grade": RNG.integers(9, 12, N),
    "city": np.array(CITIES)[np.minimum(RNG.integers(0, 60, N), RNG.integers(0, 60, N))],
}
PANDAS = pd.DataFrame(COLUMNS)
POLARS = pl.DataFrame(PANDAS.to_dict("list"))
ARROW = pa.table(PANDAS.to_dict("list"))
#: Few levels, so that rows are dense, and many, so that they are sparse.
FEW, MANY = ["size", "color", "grade"], ["size", "color", "grade", "city"]
Y = PANDAS["size"] + 2.0 * PANDAS["color"].eq("red") - PANDAS["grade"] % 3 + 0.1 * RNG.standard_normal(N)
LABELS = (Y.median() < Y).to_numpy()


def indicators(names, categories=("color", "city")):
    """The matrix that pandas codes, with the reference left out."""
    chosen = [name for name in categories if name in names]
    return pd.get_dummies(PANDAS[names], columns=chosen, drop_first=True, dtype=float, prefix_sep="=")


FRAMES = {
    "pandas text": PANDAS,
    "pandas objects": PANDAS.astype({"color": object, "city": object}),
    "pandas nullable text": PANDAS.astype({"color": "string[python]", "city": "string[pyarrow]"}),
    "pandas categories": PANDAS.astype({"color": "category", "city": "category"}),
    "pandas of Arrow": ARROW.to_pandas(types_mapper=pd.ArrowDtype),
    "pandas with another index": PANDAS.set_index(np.arange(N)[::-1] // 2),
    "polars text": POLARS,
    "polars categories": POLARS.with_columns(pl.col("color", "city").cast(pl.Categorical)),
    "polars enumeration": POLARS.with_columns(pl.col("color").cast(pl.Enum(["blue", "green", "red"]))),
    "Arrow text": ARROW,
    "Arrow chunks": pa.concat_tables([ARROW[:100], ARROW[100:]]),
    "Arrow batch": ARROW.to_batches()[0],
    "Arrow dictionaries": pa.Table.from_pandas(PANDAS.astype({"color": "category", "city": "category"})),
    "Arrow views": ARROW.set_column(1, "color", ARROW["color"].cast(pa.string_view())),
}


def columns_of(frame, names):
    return frame.select(names) if not isinstance(frame, pd.DataFrame) else frame[names]


@pytest.mark.parametrize("names", [FEW, MANY], ids=["dense", "sparse"])
@pytest.mark.parametrize("kind", FRAMES)
def test_coefficients_are_those_of_indicators(kind, names):
    X, model = columns_of(FRAMES[kind], names), LinearRegression(alpha=1e-3, tol=1e-10)
    model.fit(X, Y)
    assert model.fit_report_["order"] == ("csr" if names is MANY else "C")
    coded = indicators(names)
    assert len(model.coef_names_) == coded.shape[1]
    coded = coded[list(model.coef_names_)].to_numpy()
    expected = LinearRegression(alpha=1e-3, tol=1e-10).fit(coded, Y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(model.predict(X), coded @ model.coef_ + model.intercept_, rtol=1e-12, atol=1e-12)
    assert model.score(X, Y) == pytest.approx(expected.score(coded, Y))


def test_fitted_attributes_describe_the_frame_and_the_columns_of_coefficients():
    model = LinearRegression(alpha=1e-3).fit(PANDAS[FEW], Y)
    assert model.n_features_in_ == 3
    assert model.feature_names_in_.tolist() == FEW
    assert model.coef_names_.tolist() == ["size", "color=green", "color=red", "grade"]
    assert {name: levels.tolist() for name, levels in model.categories_.items()} == {"color": ["blue", "green", "red"]}
    model.fit(PANDAS[["size", "grade"]], Y)
    assert model.coef_names_.tolist() == ["size", "grade"]
    assert not hasattr(model, "categories_")
    model.fit(PANDAS[["size", "grade"]].to_numpy(), Y)
    assert not hasattr(model, "coef_names_")
    assert not hasattr(LinearRegression(), "categories_")


def test_names_of_indicators_that_columns_have_get_another_sign():
    X = PANDAS[FEW].rename(columns={"size": "color=red"})
    assert LinearRegression(alpha=1e-3).fit(X, Y).coef_names_.tolist() == [
        "color=red", "color=green", "color==red", "grade",
    ]  # fmt: skip


def levels_of(values, **parameters):
    X = pd.DataFrame({"x": np.arange(6.0), "c": values})
    return LinearRegression(alpha=0.1, **parameters).fit(X, np.arange(6.0)).categories_["c"].tolist()


def test_levels_are_ordered_as_declared_else_by_size_or_alphabet():
    assert levels_of(list("bcabca")) == ["a", "b", "c"]
    assert levels_of(["10", "9", "x", "9.5", "10", "9"]) == ["9", "9.5", "10", "x"]
    assert levels_of([10, 9, 11, 9, 10, 9], categorical=["c"]) == [9, 10, 11]
    assert levels_of([0.5, -1.0, 2.0, -1.0, 2.0, 0.5], categorical=["c"]) == [-1.0, 0.5, 2.0]
    assert levels_of([True, False, True] * 2, categorical=["c"]) == [False, True]
    # Of declared levels those that occur.
    assert levels_of(pd.Categorical(list("bcabca"), ["d", "c", "b", "a"])) == ["c", "b", "a"]
    assert levels_of(pd.Categorical([3, 1, 2] * 2, [2, 3, 1, 7])) == [2, 3, 1]
    X = pl.DataFrame({"c": ["b", "a", "b"]}, schema={"c": pl.Enum(["z", "b", "a"])})
    assert LinearRegression(alpha=0.1).fit(X, [1.0, 2.0, 3.0]).categories_["c"].tolist() == ["b", "a"]


def test_listed_columns_are_categories_whatever_their_type():
    for X in (PANDAS[FEW], POLARS[FEW], ARROW.select(FEW), PANDAS[FEW].astype({"grade": float})):
        model = LinearRegression(alpha=1e-3, categorical=["grade", "color"], tol=1e-10).fit(X, Y)
        assert model.coef_names_.tolist() == ["size", "color=green", "color=red", "grade=10", "grade=11"]
        coded = indicators(FEW, ["color", "grade"])[list(model.coef_names_)]
        expected = LinearRegression(alpha=1e-3, tol=1e-10).fit(coded.to_numpy(), Y)
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-6, atol=1e-7)
    # Text that is not listed is refused as text.
    refused("column 'color' of X holds text", LinearRegression(categorical=["grade"]).fit, PANDAS[FEW], Y)
    for kind in FRAMES:
        X = columns_of(FRAMES[kind], FEW)
        refused("column 'color' of X holds text", LinearRegression(categorical=None).fit, X, Y)
    # Whole numbers are one level whatever their type, and so are numbers as text.
    others = PANDAS[FEW].astype({"grade": str})
    np.testing.assert_array_equal(model.predict(others), model.predict(PANDAS[FEW]))


@pytest.mark.parametrize(
    ("categorical", "X", "message"),
    [
        ("color", PANDAS, r"categorical must be 'auto', None or a list.*got 'color': a list of one column is"),
        (3, PANDAS, "categorical must be 'auto', None or a list of names of columns, got 3"),
        ([3], PANDAS, r"list of names of columns, got \[3\]"),
        ({"color": 1}, PANDAS, "list of names of columns"),
        (["colour"], PANDAS, "categorical names 'colour', which is not a column of X; did you mean 'color'"),
        (["zzz"], PANDAS, "categorical names 'zzz', which is not a column of X: name columns such as '"),
        (["a"], np.ones((3, 2)), r"categorical=\['a'\] names columns, but X has no names: give X as a frame"),
        (["a"], [[1.0], [2.0]], "X has no names"),
    ],
)
def test_parameters_that_name_no_columns_are_refused(categorical, X, message):
    refused(message, LinearRegression(categorical=categorical).fit, X, Y[: len(X)])


def with_color(value, rows=(4, 70, 200)):
    frame = PANDAS[FEW].astype({"color": object})
    frame.loc[list(rows), "color"] = value
    return frame


MISSING = r"column 'color' of %s has missing values in 3 of 400 rows, first in row 4: leave out those rows, or fill in"
BAD = {
    "None": (with_color(None), MISSING % "X"),
    "NaN": (with_color(np.nan), MISSING % "X"),
    "NA": (with_color(pd.NA).astype({"color": "string"}), MISSING % "X"),
    "category": (with_color(None).astype({"color": "category"}), MISSING % "X"),
    "polars": (pl.from_pandas(with_color(None)), MISSING % "X"),
    "polars enumeration": (
        pl.from_pandas(with_color(None)).with_columns(pl.col("color").cast(pl.Enum(["blue", "green", "red"]))),
        MISSING % "X",
    ),
    "Arrow": (pa.Table.from_pandas(with_color(None)), MISSING % "X"),
    "number": (
        PANDAS[FEW].mask(PANDAS["size"] < 0, other=np.nan)[["size"]].join(PANDAS["color"]),
        "NaN: column 'size'",
    ),
    "identifiers": (PANDAS[["size"]].assign(id=[f"r{k}" for k in range(N)]), "'id' holds 400 different values in 400"),
    "one level": (PANDAS[["color"]].assign(color="red"), "one category alone, so that no column is left"),
    "no rows": (PANDAS[FEW][:0], r"X has shape \(0, 3\): at least one row"),
    "intervals": (PANDAS[["size"]].assign(c=pd.cut(PANDAS["size"], 3).astype(object).astype("category")), "Interval"),
    "dates": (PANDAS[["size"]].assign(c=pd.Categorical([pd.Timestamp(2026, 1, 1)] * N)), "holds dates"),
    "same names": (pd.DataFrame([["a", "b"], ["b", "a"]], columns=["c", "c"]), "2 columns of X are called 'c': rename"),
}


@pytest.mark.parametrize("kind", BAD)
def test_columns_that_cannot_be_coded_are_named(kind):
    X, message = BAD[kind]
    refused(message, LinearRegression(alpha=0.1).fit, X, np.arange(float(len(X))))


def test_values_of_several_types_are_refused():
    X = pd.DataFrame({"c": pd.Series([1, "1", 2, "x"], dtype=object)})
    message = "column 'c' mixes numbers and text, such as 1 and '1': give values of one type"
    refused(message, LinearRegression(categorical=["c"]).fit, X, [1.0, 2.0, 3.0, 4.0])
    refused("holds text, such as 'x'", LinearRegression().fit, X, [1.0, 2.0, 3.0, 4.0])
    X = pd.DataFrame({"c": pd.Series([(1,), (2,)], dtype=object)})
    refused("holds the category .* of type tuple", LinearRegression(categorical=["c"]).fit, X, [1.0, 2.0])


def test_many_levels_are_allowed_by_name_and_never_dense():
    n = 30_000
    X = pd.DataFrame({"id": np.arange(n) % 20_000, "x": np.tile([0.0, 1.0], n // 2)})
    model = LinearRegression(alpha=1.0 / n, categorical=["id"]).fit(X, np.sin(np.arange(n)))
    assert model.coef_.shape == (20_000,)
    assert model.fit_report_["order"] == "csr"
    assert model.fit_report_["bytes_converted"] < 50 * n


def unseen_frame():
    frame = with_color("pink", [3, 5])
    frame.loc[7, "color"] = "mauve"
    return frame


def test_unseen_categories_are_the_reference_and_counted_in_one_warning():
    reference = PANDAS[FEW].copy()
    reference.loc[[3, 5, 7], "color"] = "blue"
    for model, y in ((LinearRegression(alpha=1e-3), Y), (LogisticRegression(), LABELS)):
        model.fit(PANDAS[FEW], y)
        for method in ("predict", "decision_function", "predict_proba", "score"):
            if not hasattr(model, method):
                continue
            arguments = (y,) if method == "score" else ()
            with pytest.warns(UnseenCategoryWarning) as caught:
                found = getattr(model, method)(unseen_frame(), *arguments)
            assert len(caught) == 1
            assert caught[0].filename == __file__
            assert "X holds categories that the fit has not seen" in str(caught[0].message)
            assert "column 'color' in 3 rows, such as 'pink'" in str(caught[0].message)
            np.testing.assert_array_equal(found, getattr(model, method)(reference, *arguments))
    refused(MISSING % "X", model.predict, with_color(None))
    refused("X must be a frame .* the fit had categories in 'color'", model.predict, PANDAS[["size"]].to_numpy())
    refused("feature names", model.predict, PANDAS[FEW[::-1]])


def test_classifiers_of_several_classes():
    y = np.array(["low", "middle", "high"])[np.digitize(Y, np.quantile(Y, [0.3, 0.7]))]
    model = LogisticRegression().fit(PANDAS[MANY], y)
    coded = indicators(MANY)[list(model.coef_names_)].to_numpy()
    expected = LogisticRegression().fit(coded, y)
    np.testing.assert_allclose(model.predict_proba(PANDAS[MANY]), expected.predict_proba(coded), atol=1e-3)


def test_float32_numbers_give_float32_rows():
    X = PANDAS[["size", "color"]].astype({"size": np.float32})
    assert LinearRegression(alpha=0.1).fit(X, Y).fit_report_["dtype"] == "float32"
    assert LinearRegression(alpha=0.1).fit(PANDAS[FEW], Y).fit_report_["dtype"] == "float64"


@pytest.mark.parametrize("names", [FEW, MANY], ids=["dense", "sparse"])
def test_validation_rows_are_coded_by_the_levels_of_the_fit(names):
    X, coded = PANDAS[names], indicators(names)
    model = LinearRegression(alpha=1e-3, optimizer="adam", early_stopping=True, random_state=0, max_iter=5, tol=0.0)
    # Not all levels occur in the last rows.
    model.fit(X, Y, X_val=X[300:], y_val=Y[300:])
    coded = coded[list(model.coef_names_)].to_numpy()
    form = sparse.csr_array if names is MANY else np.ascontiguousarray
    other = clone(model).fit(form(coded), Y, X_val=form(coded[300:]), y_val=Y[300:])
    np.testing.assert_array_equal(model.history_["validation_loss"], other.history_["validation_loss"])
    with pytest.warns(UnseenCategoryWarning, match="X_val holds categories .* column 'color' in 3 rows"):
        model.fit(X, Y, X_val=X.assign(color=unseen_frame()["color"]), y_val=Y)


def test_warm_starts_keep_coefficients_of_levels():
    model = LinearRegression(alpha=1e-3, warm_start=True, max_iter=0, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.set_params(max_iter=None, tol=1e-8).fit(PANDAS[FEW], Y)
        before = dict(zip(model.coef_names_, model.coef_, strict=True))
        model.set_params(max_iter=0).fit(with_color("amber"), Y)
    after = dict(zip(model.coef_names_, model.coef_, strict=True))
    assert after == {**{name: pytest.approx(value) for name, value in before.items()}, "color=blue": 0.0}


def test_streams_keep_the_levels_of_their_first_chunk():
    declared = PANDAS[FEW].assign(color=pd.Categorical(PANDAS["color"], ["green", "red", "blue", "pink"]))
    model = LinearRegression(alpha=1e-3, optimizer="gd", random_state=0, shuffle=False)
    other = clone(model)
    first = declared[declared["color"] != "blue"][:64]
    coded = pd.get_dummies(declared, columns=["color"], dtype=float, prefix_sep="=")
    coded = coded[["size", "color=red", "color=blue", "color=pink", "grade"]]
    scales = {"means": np.zeros(5), "scales": np.ones(5)}
    for k, chunk in enumerate((first, declared[100:200], declared[200:300])):
        given = scales if k == 0 else {}
        model.partial_fit(chunk, Y[chunk.index], **given)
        other.partial_fit(coded.loc[chunk.index].to_numpy(), Y[chunk.index], **given)
    assert model.coef_names_.tolist() == coded.columns.tolist()
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-12)
    with pytest.warns(UnseenCategoryWarning, match="column 'color' in 1 row, such as 'mauve'"):
        model.partial_fit(declared[:4].astype({"color": object}).replace({"color": {"red": "mauve"}})[:4], Y[:4])


def test_scikit_learn_tools_pass_frames_through():
    for X in (PANDAS[FEW], POLARS[FEW]):
        model = LogisticRegression()
        search = GridSearchCV(model, {"alpha": [1e-3, 1.0], "categorical": ["auto", ["color", "grade"]]}, cv=3)
        search.fit(X, LABELS)
        assert search.best_score_ > 0.7
        assert cross_val_score(make_pipeline(FunctionTransformer(), model), X, LABELS, cv=3).mean() > 0.7
    copy = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(copy.predict_proba(X), search.predict_proba(X))
    assert clone(copy).get_params() == copy.get_params()


def test_scikit_learn_encoder_gives_the_same_model():
    encode = make_column_transformer(
        (OneHotEncoder(drop="first", handle_unknown="ignore"), ["color", "city"]), remainder="passthrough"
    )
    model = LinearRegression(alpha=1e-3, tol=1e-10).fit(PANDAS[MANY], Y)
    other = make_pipeline(encode, LinearRegression(alpha=1e-3, tol=1e-10)).fit(PANDAS[MANY], Y)
    np.testing.assert_allclose(model.predict(PANDAS[MANY]), other.predict(PANDAS[MANY]), rtol=1e-6, atol=1e-6)


def test_columns_named_like_parts_of_matrices_and_text_alone():
    X = PANDAS[["city", "color"]].rename(columns={"city": "data", "color": "sparse"})
    model = LinearRegression(alpha=1e-3).fit(X, Y)
    assert model.fit_report_["bytes_converted"] > 12 * N
    np.testing.assert_allclose(model.coef_, LinearRegression(alpha=1e-3).fit(PANDAS[["city", "color"]], Y).coef_)


def test_warnings_name_the_level():
    X, y = PANDAS[FEW], LABELS.copy()
    y[X["color"] == "red"] = True
    with pytest.warns(Warning, match="'color=red' separates some rows of a class"):
        LogisticRegression(alpha=0.0).fit(X, y)


def test_frames_of_sparse_columns_stay_sparse():
    dense = PANDAS[["size", "grade"]].assign(size=lambda frame: frame["size"].where(frame["size"] > 1, 0.0))
    X = dense.astype(float).astype(pd.SparseDtype("float64", 0.0))
    model = LinearRegression(alpha=1e-3, tol=1e-10).fit(X, Y, X_val=X, y_val=Y)
    assert model.fit_report_["order"] == "csr"
    assert model.feature_names_in_.tolist() == ["size", "grade"]
    expected = LinearRegression(alpha=1e-3, tol=1e-10).fit(dense, Y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.predict(X), model.predict(dense), rtol=1e-12)


@pytest.mark.parametrize("fill", [7.0, np.nan])
def test_sparse_columns_that_leave_out_another_value_are_refused(fill):
    X = pd.DataFrame({"size": pd.arrays.SparseArray([1.0, fill, fill, fill], fill_value=fill)})
    with pytest.raises(ValueError, match=rf"'size' whose fill value is {fill}.*X\.sparse\.to_dense\(\)"):
        LinearRegression().fit(X, Y[:4])


def test_columns_without_names_of_text():
    X = pd.DataFrame({0: PANDAS["size"], 1: PANDAS["color"]})
    model = LinearRegression(alpha=1e-3).fit(X, Y)
    assert model.coef_names_.tolist() == ["0", "1=green", "1=red"]
    assert not hasattr(model, "feature_names_in_")
    assert model.predict(X).shape == (N,)


@pytest.mark.parametrize("names", [FEW, MANY], ids=["dense", "sparse"])
def test_saved_models_predict_from_the_frame(names, tmp_path):
    model = LogisticRegression(categorical=["color", "grade", *names[3:]]).fit(PANDAS[names], LABELS)
    model.save(tmp_path / "model")
    loaded = fastgd.load(tmp_path / "model")
    assert loaded.coef_names_.tolist() == model.coef_names_.tolist()
    assert loaded.get_params() == model.get_params()
    for name, levels in model.categories_.items():
        np.testing.assert_array_equal(loaded.categories_[name], levels)
        assert loaded.categories_[name].dtype == levels.dtype
    for X in (PANDAS[names], POLARS[names]):
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    with pytest.warns(UnseenCategoryWarning):
        loaded.predict(PANDAS[names].assign(color="pink"))


def test_streams_go_on_from_a_file(tmp_path):
    model = LinearRegression(alpha=1e-3, optimizer="adam", shuffle=False).partial_fit(PANDAS[FEW][:200], Y[:200])
    model.save(tmp_path / "model")
    loaded = fastgd.load(tmp_path / "model").partial_fit(PANDAS[FEW][200:], Y[200:])
    np.testing.assert_array_equal(loaded.coef_, model.partial_fit(PANDAS[FEW][200:], Y[200:]).coef_)


def test_importing_loads_no_library_of_frames():
    # scikit-learn imports pandas, which imports Arrow.
    code = (
        "import sys, fastgd; print({'pandas', 'polars', 'pyarrow'} & {*sys.modules});"
        "fastgd.LinearRegression, fastgd.load; print({'polars'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n") == ["set()", "set()", ""]
