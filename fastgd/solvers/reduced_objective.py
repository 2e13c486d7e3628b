"""The objective of a squared loss by the Gram matrix of independent columns, if others are combinations of them."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fastgd.arrays import Array
from fastgd.objective.problem import Evaluation
from fastgd.solvers.collinearity import Collinearity, is_searched, is_wide, name_parts
from fastgd.solvers.gram_objective import DEPENDENT, Factor, GramObjective, places_of

#: Pivots of a float64 Gram matrix of unit diagonal, per column, up to which they are rounding.
_ROUNDING = 64.0 * float(np.finfo(np.float64).eps)
#: Share of the largest entry of a null vector up to which an entry is rounding.
_PART = 1e-6


class ReducedObjective(GramObjective):
    """The objective of a squared loss by the Gram matrix, without columns that are combinations of others.

    Pivots of the Gram matrix find such columns down to the root of its rounding only: `precise` confirms them on all
    rows. Steps keep coefficients of least norm in raw columns.

    Parameters
    ----------
    gram : GramObjective
        The objective by the Gram matrix of all columns.
    """

    def __init__(self, gram: GramObjective) -> None:
        super().__init__(gram.of_rows)
        self._model = gram._model
        #: Largest root mean square of the rows' products with null vectors of norm 1; not known before `precise`.
        self._residual: float | None = None

    def is_applicable(self, least_condition: float) -> bool:
        """Whether some columns seem to be combinations of the others, whose reciprocal condition is at least this."""
        dropped = len(self._dropped)
        few = 0 < 2 * dropped <= self.data.d and is_searched(self.data) and not is_wide(self)
        return few and self.reciprocal_condition >= least_condition

    @property
    def is_confirmed(self) -> bool:
        """Whether a pass has shown that the dropped columns are combinations of the others."""
        return self._residual is not None and self._residual <= DEPENDENT[self.data.dtype]

    @property
    def collinearity(self) -> Collinearity:
        """The dropped columns and the constant ones; the solution has least norm already."""
        columns: dict[int, tuple[int, ...]] = {int(j): () for j in np.flatnonzero(self.standard.inv_scale == 0.0)}
        columns |= name_parts(self._null[:, :-1].T, self._dropped.tolist(), _PART)
        return Collinearity(dict(sorted(columns.items())), False, None, True)

    @cached_property
    def _pivoted(self) -> tuple[Array, NDArray[np.intp], int]:
        """Cholesky's factor with pivots, parameters in their order, and the rank; the intercept comes first."""
        unit, _ = self._unit
        places = np.array(places_of(self.data.d, int(self.problem.fit_intercept)))
        least = _ROUNDING * len(places) if self.data.dtype == "f8" else DEPENDENT[self.data.dtype] ** 2
        lower, pivots, rank, _ = linalg.lapack.dpstrf(unit[np.ix_(places, places)], tol=least, lower=1)
        return lower, places[pivots - 1], int(rank)

    @property
    def _dropped(self) -> NDArray[np.intp]:
        _, order, rank = self._pivoted
        return order[rank:]

    @cached_property
    def _factor(self) -> Factor:
        (unit, scale), (lower, order, rank) = self._unit, self._pivoted
        kept, lower = order[:rank], np.asfortranarray(lower[:rank, :rank])
        norm = float(np.abs(unit[np.ix_(kept, kept)]).sum(axis=0).max())
        return Factor(kept, scale[kept], lower, float(linalg.lapack.dpocon(lower, norm, uplo="L")[0]))

    @cached_property
    def _null(self) -> Array:
        """Null vectors (m, d + 1) of the rows: each dropped column less its combination of others."""
        (unit, scale), (kept, kept_scale, lower, _), dropped = self._unit, self._factor, self._dropped
        null = np.zeros((len(dropped), len(unit)))
        null[np.arange(len(dropped)), dropped] = scale[dropped]
        parts = linalg.lapack.dpotrs(lower, unit[np.ix_(kept, dropped)], lower=1)[0]
        null[:, kept] = -parts.T * kept_scale
        found: Array = null / np.linalg.norm(null[:, :-1], axis=1, keepdims=True)
        return found

    @cached_property
    def _raw_null(self) -> tuple[Array, Array]:
        """Null vectors whose raw coefficients have norm 1, and the pseudoinverse (d, m) of these coefficients."""
        coef = self._null[:, :-1] * self.scaling.inv_scale
        norms = np.linalg.norm(coef, axis=1, keepdims=True)
        return self._null / norms, np.linalg.pinv(coef / norms)

    def _smooth_step(self, g: Array) -> Array:
        """Return the step among coefficients of least norm."""
        step = super()._smooth_step(g)
        null, inverse = self._raw_null
        return step - (step[:, :-1] * self.scaling.inv_scale) @ inverse @ null

    def precise(self, theta: Array) -> Evaluation:
        """As `GramObjective.precise`; at first it examines the null vectors too, and corrects their rounding."""
        if self._residual is not None:
            return super().precise(theta)
        own = self.outputs
        losses, gradient = self._exact_gradient(np.vstack([theta, self._null]))
        corrections = super()._smooth_step(gradient[own:])
        squares = 2.0 * losses[own:] + (corrections * gradient[own:]).sum(axis=1)
        self._null = self._null + corrections
        self.__dict__.pop("_raw_null", None)
        self._residual = float(np.sqrt(squares.max(initial=0.0)))
        return self.evaluation(theta, losses[:own], gradient[:own])
