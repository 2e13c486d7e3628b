"""The base class of both estimators: parameters, the pipeline of a fit, prediction and saving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, NamedTuple, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted

from fastgd._collections import active_client, as_collection
from fastgd._inputs import Matrix, check_no_source, host_array, read_matrix, read_rows, read_validation_rows, source_of
from fastgd._model import ModelParameters
from fastgd._namespaces import coefficients, fitted_array, with_numpy_attributes
from fastgd._report import FitReport, shown_report, to_html
from fastgd._tasks import CallbackSupportMixin
from fastgd.arrays import Array, blocks_of
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.gpu_arrays import GpuArray
from fastgd.blas import restores_process
from fastgd.callbacks import check_callbacks
from fastgd.history import printed
from fastgd.optimizers import BY_NAME, FullBatch, Optimizer
from fastgd.parameters import is_one_of, replacements, shown
from fastgd.schedules import as_schedule
from fastgd.suggestions import ESTIMATORS, Checked
from fastgd.threads import get_num_threads

if TYPE_CHECKING:
    from fastgd._categories import Coding
    from fastgd._checkpoint import Checkpoint
    from fastgd._data import Start, ValidationRows
    from fastgd._streaming import FitResult, Previous
    from fastgd.data.rows import RowSource
    from fastgd.data.store import Cache


class FitExtras(NamedTuple):
    """The arguments of `fit` besides X, y and sample weights, as given."""

    coef_init: ArrayLike | None
    intercept_init: ArrayLike | None
    X_val: ArrayLike | None
    y_val: ArrayLike | None
    sample_weight_val: ArrayLike | None
    callbacks: Any
    target: str | Sequence[str] | None = None
    cache: Cache | str = "auto"
    memory_limit: int | str | None = None
    checkpoint: str | Path | None = None
    checkpoint_every: float | None = None
    resume: str | Path | None = None


def _checkpoint_of(extras: FitExtras) -> AbstractContextManager[Checkpoint | None]:
    """Return the checkpoint of a fit, locked while it runs; None without one."""
    given = extras.checkpoint, extras.checkpoint_every, extras.resume
    if all(value is None for value in given):
        return nullcontext()
    from fastgd._checkpoint import opened

    return opened(*given)


#: How messages name a start from the last fit.
_LAST = "warm_start=True (set it to False for data of another form): {} of the last fit"


_P = ParamSpec("_P")
_T = TypeVar("_T")
_Model = TypeVar("_Model")


def quiet(method: Callable[Concatenate[_Model, _P], _T]) -> Callable[Concatenate[_Model, _P], _T]:
    """Let a method neither raise nor warn of floating-point errors, under any `numpy.errstate` of the caller.

    The results show whether anything overflowed.
    """

    @wraps(method)
    def call(self: _Model, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with np.errstate(all="ignore"):
            return method(self, *args, **kwargs)

    return call


def all_or_nothing(method: Callable[Concatenate[_Model, _P], _T]) -> Callable[Concatenate[_Model, _P], _T]:
    """Let a fit that raises restore the estimator's attributes, unless it has set all of them; `quiet` besides.

    `LinearModel._store` sets all fitted attributes at once, so that the report shows whether it has.
    """

    @wraps(method)
    def call(self: _Model, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        before: dict[str, Any] = dict(vars(self))
        try:
            with np.errstate(all="ignore"):
                return method(self, *args, **kwargs)
        except BaseException:
            if vars(self).get("fit_report_") is before.get("fit_report_"):
                object.__setattr__(self, "__dict__", before)
            raise

    return call


#: Numbers of X that are predicted at a time, so that no float64 copy of X is held.
_BLOCK_NUMBERS = 1 << 20


def can_stream(estimator: LinearModel) -> bool:
    """Whether an estimator has `partial_fit`; an AttributeError names the parameter that rules it out.

    Invalid values are left to the call itself, whose message names them.
    """
    given = estimator.optimizer
    named = BY_NAME.get(given) if isinstance(given, str) else type(given)
    kind = named if isinstance(named, type) and issubclass(named, Optimizer) else Optimizer
    search = getattr(given, "line_search", None)
    reasons = {
        f"optimizer={given!r}, which keeps a number for each row": kind.keeps_rows(),
        f"optimizer={given!r}, which needs all rows": issubclass(kind, FullBatch),
        f"line_search={search!r}, which needs all rows": isinstance(search, str),
        "early_stopping=True: a stream ends when you do": _is_true(estimator.early_stopping),
        "drop_last=True, which would lose rows of every call": _is_true(estimator.drop_last),
        f"max_seconds={estimator.max_seconds!r}: a call is one pass": estimator.max_seconds is not None,
        "positive=True, which needs all rows": _is_true(getattr(estimator, "positive", False)),
        f"optimizer={given!r}, whose learning-rate schedule takes its length from the fit: give epochs": _needs_length(
            given
        ),
        "class_weight='balanced', which needs all rows": is_one_of(
            getattr(estimator, "class_weight", None), ("balanced",)
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise AttributeError(f"{type(estimator).__name__} has no partial_fit with {reason}; use fit")
    return True


def _needs_length(optimizer: Any) -> bool:
    """Whether the schedule of a valid optimizer leaves its length to the fit."""
    try:
        return as_schedule(optimizer.get_params(deep=False)["learning_rate"]).needs_length
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _is_true(value: Any) -> bool:
    """Whether a value is a flag that is set."""
    return isinstance(value, bool | np.bool_) and bool(value)


class LinearModel(Checked, CallbackSupportMixin, ModelParameters):
    """Parameters, fitted attributes and methods of both estimators."""

    _elsewhere: ClassVar[Mapping[str, str]] = ESTIMATORS
    coef_: Any
    intercept_: Any
    n_iter_: int
    history_: dict[str, Array]
    fit_report_: FitReport

    @property
    def categories_(self) -> dict[str, NDArray[Any]]:
        """Levels of the columns of categories, the reference first; an AttributeError if there are none."""
        if self._coding is None:
            raise AttributeError(f"{type(self).__name__} was not fitted on columns of categories: no categories_")
        return self._coding.categories

    @property
    def coef_names_(self) -> NDArray[Any]:
        """Names of the columns of `coef_`; an AttributeError if X had no names."""
        return self.feature_names_in_ if self._coding is None else np.array(self._coding.names, object)

    def _set_parameters(self, given: dict[str, Any]) -> None:
        """Store the arguments of a constructor, its local names."""
        self.__dict__.update({name: value for name, value in given.items() if name not in ("self", "__class__")})

    def set_params(self, **params: Any) -> Self:
        """Set parameters, nested ones as ``optimizer__learning_rate__every``.

        Parameters
        ----------
        **params : object
            Parameters by name. Where a nested one is given, the object inside is replaced by a changed copy.

        Returns
        -------
        self
            The same object.

        Raises
        ------
        ValueError
            If there is no parameter of that name.

        Examples
        --------
        >>> from fastgd import LinearRegression, optimizers
        >>> model = LinearRegression(optimizer=optimizers.Adam()).set_params(alpha=0.5, optimizer__beta1=0.8)
        >>> model.alpha, model.optimizer.beta1
        (0.5, 0.8)
        """
        return super().set_params(**replacements(self, params))

    def _of_margins(self, X: Any, answer: Callable[[Array], _T]) -> _T | Iterator[_T]:
        """Return an answer from the margins (n, K) of rows.

        It is an iterator of answers, one per block, for a source, and lazy for a collection of Dask.
        """
        collection = as_collection(X)
        if collection is not None:
            from fastgd._dask import lazily

            check_is_fitted(self)
            like: Any = answer(np.zeros((0, len(coefficients(self)[1]))))
            lazy: _T = lazily(collection, lambda rows: answer(self._margins(rows)), like)
            return lazy
        source = source_of(X)
        return answer(self._margins(X)) if source is None else self._of_blocks(source, answer)

    def _of_blocks(self, source: RowSource, answer: Callable[[Array], _T]) -> Iterator[_T]:
        from fastgd._ingest import rows_of_blocks

        check_is_fitted(self)
        for rows in rows_of_blocks(self, source, self.n_threads or get_num_threads()):
            margins = self._margins_of(rows)
            with np.errstate(all="ignore"):
                found = answer(margins)
            yield found

    def _to_score(self, X: Any, y: Any, sample_weight: Any) -> tuple[Array, Any, Any]:
        """Return margins, targets and weights of rows; of a source, y and sample_weight may be names of columns."""
        collection = as_collection(X)
        if collection is not None:
            from fastgd._dask import columns_of

            lazy: Any = self._of_margins(collection, lambda part: part)
            return lazy.compute(), *columns_of(collection, y, sample_weight)
        source = source_of(X)
        if source is None:
            return self._margins(X), host_array(y), host_array(sample_weight)
        from fastgd._ingest import read_columns

        margins = np.concatenate(list(self._of_blocks(source, lambda part: part)))
        target, weight = (each if isinstance(each, str) else None for each in (y, sample_weight))
        found = read_columns(source, target, weight, self.n_threads)
        return margins, y if target is None else found[0], sample_weight if weight is None else found[1]

    def _margins(self, X: ArrayLike) -> Array:
        """Return X . coef + intercept, (n, K), accumulated in float64 block by block; imports no Numba.

        Rows on the GPU are read there.
        """
        check_is_fitted(self)
        return self._margins_of(read_rows(self, X, reset=False))

    @restores_process
    @quiet
    def _margins_of(self, rows: NDArray[Any] | GpuArray | CsrMatrix) -> Array:
        if isinstance(rows, GpuArray):
            return self._margins_on_gpu(rows)
        coef, intercept = coefficients(self)
        margins = _product(rows, coef.T)
        margins += intercept
        far = np.flatnonzero(~np.isfinite(margins).all(axis=1))
        for block in blocks_of(far.size, _BLOCK_NUMBERS, rows.shape[1]):
            few = far[block]
            X = rows.take(few).dense(0, len(few)) if isinstance(rows, CsrMatrix) else rows[few]
            margins[few] = _far_margins(X.astype(np.float64), coef.T, intercept)
        return margins

    def _margins_on_gpu(self, X: GpuArray) -> Array:
        from fastgd._data import Coefficients, margins_on_gpu

        model = Coefficients(*coefficients(self))
        margins = margins_on_gpu(X, model, self.device, self.n_threads or get_num_threads())
        far = np.flatnonzero(~np.isfinite(margins).all(axis=1))
        if far.size:
            margins[far] = _far_margins(X.to_host()[far].astype(np.float64), model.coef.T, model.intercept)
        return margins

    def save(self, path: str | Path) -> None:
        """Write the fitted model to a file.

        Parameters
        ----------
        path : str or Path
            A file is replaced whole or not at all and keeps its permissions; a link is followed, a device or pipe is
            written into. The format is safetensors: tensors and JSON, no code; `fastgd.load` reads it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import tempfile
        >>> import fastgd
        >>> model = fastgd.LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/model.safetensors")
        ...     loaded = fastgd.load(f"{folder}/model.safetensors")
        >>> loaded.predict([[3.0]]).round(6)
        array([7.])
        """
        from fastgd.model_file import save

        check_is_fitted(self)
        save(with_numpy_attributes(self), path)

    def sparsify(self) -> Self:
        """Store `coef_` as a sparse matrix, which saves memory where most coefficients are 0.

        Returns
        -------
        self
            With `coef_` a `scipy.sparse.csr_matrix` of shape (n_outputs, d). The model predicts and saves as before.

        Examples
        --------
        >>> from fastgd import LinearRegression
        >>> model = LinearRegression(alpha=0.1, l1_ratio=1.0).fit([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], [1.0, 3.0, 5.0])
        >>> model.sparsify().coef_.nnz
        1
        """
        check_is_fitted(self)
        self.coef_ = csr_matrix(coefficients(self)[0])
        return self

    def densify(self) -> Self:
        """Store `coef_` as a dense array again.

        Returns
        -------
        self
            With `coef_` as `fit` left it.

        Examples
        --------
        >>> from fastgd import LinearRegression
        >>> model = LinearRegression(alpha=0.1, l1_ratio=1.0).fit([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], [1.0, 3.0, 5.0])
        >>> model.sparsify().densify().coef_.shape
        (2,)
        """
        check_is_fitted(self)
        self.coef_ = with_numpy_attributes(self).coef_
        return self

    def _repr_html_inner(self) -> str:
        return str(super()._repr_html_inner()) + self._report_html()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = dict(super()._repr_mimebundle_(**kwargs))
        if "text/html" in bundle:
            bundle["text/html"] += self._report_html()
        return bundle

    def _report_html(self) -> str:
        """Return what a notebook shows below scikit-learn's diagram: the report of the fit, if there is one."""
        return to_html(self.fit_report_) if hasattr(self, "fit_report_") else ""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coef_")

    def _fit(self, X: Any, y: Any, sample_weight: Any, extras: FitExtras) -> Self:
        """Fit the model; `extras` are the other arguments of `fit`."""
        from fastgd._config import FitConfig
        from fastgd._data import FitTimer, load
        from fastgd._fit import run_fit

        timer, config, before = FitTimer(), FitConfig.of(self), self._coding
        callbacks = () if extras.callbacks is None else check_callbacks(extras.callbacks)
        with _checkpoint_of(extras) as checkpoint:
            config = config if checkpoint is None else checkpoint.with_seed(config)
            matrix, y, sample_weight = self._read_rows_to_fit(X, y, sample_weight, extras)
            validation, start = self._validation_rows(extras, matrix), self._start(extras, before)
            data = load(config, matrix, y, sample_weight, start, validation)
            # Those of a source would be kept beside their working copies.
            del y, sample_weight
            with printed(config.verbose):
                data = data if checkpoint is None else checkpoint.record(config, data)
                return self._store(run_fit(config, data, callbacks, hasattr(self, "coef_"), timer))

    def _read_rows_to_fit(self, X: Any, y: Any, sample_weight: Any, extras: FitExtras) -> tuple[Matrix, Any, Any]:
        """Return X, targets and weights, from a source or as given."""
        collection = as_collection(X)
        if collection is not None:
            from fastgd._dask import read_collection

            check_no_source(X, None, extras.cache, extras.memory_limit)
            return read_collection(self, collection, y, sample_weight, extras.target)
        source = source_of(X)
        if source is None:
            check_no_source(X, extras.target, extras.cache, extras.memory_limit)
            return read_matrix(self, X, reset=True), y, sample_weight
        from fastgd._ingest import SourceOptions, read_source

        if isinstance(extras.X_val, str | Path):
            raise ValueError(f"X_val must be rows in memory, got {shown(extras.X_val)}: read them from the file first")
        weight = sample_weight if isinstance(sample_weight, str) else None
        options = SourceOptions(
            extras.target, weight, self.categorical, extras.cache, extras.memory_limit, self.n_threads
        )
        if extras.cache == "auto" and active_client() is not None:
            from fastgd._dask import is_for_workers, read_files

            if is_for_workers(X, source):
                rows: Any = read_files(self, X, source, options, y)
                return rows.matrix, rows.y, sample_weight if weight is None else rows.sample_weight
        rows = read_source(self, source, options, y)
        return rows.matrix, rows.y, sample_weight if weight is None else rows.sample_weight

    def _partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        means: ArrayLike | None,
        scales: ArrayLike | None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Continue with one pass over these rows; means and scales: of the columns."""
        from fastgd._config import FitConfig
        from fastgd._data import FitTimer
        from fastgd._streaming import ColumnScales, load_chunk, run_chunk

        timer, config, previous = FitTimer(), FitConfig.for_stream(self), self._previous()
        matrix = read_matrix(self, X, reset=previous is None, streams=True)
        chunk = load_chunk(config, matrix, y, sample_weight, previous, ColumnScales(means, scales), classes)
        with printed(config.verbose):
            return self._store(run_chunk(config, chunk, previous, timer))

    def _start(self, extras: FitExtras, before: Coding | None) -> Start:
        """Return the coefficients and intercepts to start from: given ones, else with `warm_start` the last fit's.

        before: the coding of the last fit, whose coefficients are those of the same levels.
        """
        from fastgd._data import Start

        start = Start(extras.coef_init, extras.intercept_init)
        if self.warm_start and hasattr(self, "coef_"):
            if start.coef is None:
                coef = fitted_array(self.coef_)
                if before is not None and self._coding is not None:
                    coef = before.carry_over(coef, self._coding)
                start = start._replace(coef=coef, coef_name=_LAST.format("coef_"))
            if start.intercept is None:
                intercept = fitted_array(self.intercept_)
                start = start._replace(intercept=intercept, intercept_name=_LAST.format("intercept_"))
        return start

    def _validation_rows(self, extras: FitExtras, matrix: Matrix) -> ValidationRows | None:
        """Return the given validation rows, if any; a ValueError if only a part of them is given."""
        X, y, sample_weight = extras.X_val, extras.y_val, extras.sample_weight_val
        if (X is None) != (y is None):
            raise ValueError("X_val and y_val must be given together")
        if X is None or y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val needs X_val and y_val")
            return None
        from fastgd._data import ValidationRows

        return ValidationRows(read_validation_rows(self, X, matrix.array), y, sample_weight)

    def _previous(self) -> Previous | None:
        """Return the fitted model that a stream continues, if any."""
        from fastgd._data import Coefficients
        from fastgd._streaming import Previous

        if not hasattr(self, "coef_"):
            return None
        model, classes = Coefficients(*coefficients(self)), fitted_array(getattr(self, "classes_", None))
        history, epochs = getattr(self, "history_", {}), int(getattr(self, "n_iter_", 0))
        return Previous(model, history, epochs, getattr(self, "_training", None), classes)

    def _store(self, result: FitResult) -> Self:
        """Set all fitted attributes at once; then raise the error that ended the fit early, if any."""
        coef, intercept, classes = result.coef, result.intercept, result.data.classes
        model: dict[str, Any] = {"coef_": coef, "intercept_": intercept}
        if classes is not None:
            model["classes_"] = classes
        elif result.data.is_vector:
            model = {"coef_": coef[0], "intercept_": float(intercept[0])}
        self.__dict__.update(
            model,
            history_=result.history,
            fit_report_=shown_report(result.report),
            n_iter_=result.epochs,
            _training=result.stream,
        )
        if result.error is not None:
            raise result.error
        return self


def _product(X: NDArray[Any] | CsrMatrix, coef: Array) -> Array:
    """Return X @ coef (n, K) for coef (d, K), in float64, block by block."""
    margins = np.empty((len(X), coef.shape[1]))
    if isinstance(X, CsrMatrix):
        coef = np.ascontiguousarray(coef)
        for rows in blocks_of(len(X), _BLOCK_NUMBERS, X.nnz // len(X)):
            margins[rows] = X.slice(rows.start, min(rows.stop, len(X))).to_scipy() @ coef
        return margins
    for rows in blocks_of(len(X), _BLOCK_NUMBERS, X.shape[1]):
        np.matmul(X[rows].astype(np.float64, copy=False), coef, out=margins[rows])
    return margins


def _far_margins(X: Array, coef: Array, intercept: Array) -> Array:
    """Margins (n, K) of rows whose terms overflow, X (n, d) and coef (d, K): in smaller units.

    Margins that overflow themselves become about the largest number of their sign, in their order.
    """
    large = np.frexp(np.abs(X).max(axis=1, keepdims=True))[1]
    steep = np.frexp(np.abs(coef).max())[1]
    small = np.ldexp(X, -large) @ np.ldexp(coef, -steep) + np.ldexp(intercept, -(large + steep))
    margins = np.ldexp(small, large + steep)
    share = np.abs(small) / np.abs(small).max(axis=1, keepdims=True)
    # Larger than all finite margins, except for a share of 2^-40.
    clipped = np.copysign(np.finfo(np.float64).max * (1.0 - (1.0 - share) * 2.0**-40), small)
    return np.where(np.isinf(margins), clipped, margins)
