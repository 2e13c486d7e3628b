"""``fastgd draw``: pictures of built-in examples, saved models and benchmarks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import fastgd
from fastgd import optimizers, plots, schedules
from fastgd.callbacks import Iterates
from fastgd.cli.draw_options import DrawOptions
from fastgd.cli.errors import InputError
from fastgd.cli.output import print_text, whole_file
from fastgd.plots import examples

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Paths(NamedTuple):
    """The arguments of `plots.plot_path` or `plots.animate_path`."""

    fun: Any
    results: dict[str, Any]
    options: dict[str, Any]


#: Korean names of built-in examples.
_KOREAN = {
    "gradient descent": "경사 하강법",
    "momentum": "모멘텀",
    "batch": "전체 배치",
    "32 rows": "32행",
    "1 row": "1행",
    "local minima": "지역 최솟값",
    "saddle": "안장점",
    "plateau": "고원",
    "on plateau": "정체 시 감소",
    "constant": "상수",
    "step": "계단",
    "exponential": "지수",
    "cosine": "코사인",
    "warmup": "워밍업",
    "onecycle": "원사이클",
}


def draw(options: DrawOptions) -> None:
    """Draw the picture and print its name."""
    options.check()
    wide = (10.0, 4.0) if options.kind in ("rates", "momentum", "starts", "batches") else (7.0, 5.0)
    size = options.inches((11.0, 6.0) if options.kind == "bench" else wide)
    with warnings.catch_warnings(), plots.style(options.background):
        warnings.simplefilter("ignore", UserWarning)  # examples end early on purpose
        if options.kind in PATHS:
            _draw_paths(options, PATHS[options.kind](), size)
        else:
            figure = _new_figure(size)
            OTHERS[options.kind](figure, options)
            _save(figure, options.path)
    print_text(f"written: {options.path}")


def _new_figure(size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="compressed")


def _save(figure: Figure, path: Path) -> None:
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_paths(options: DrawOptions, paths: Paths, size: tuple[float, float]) -> None:
    more = {**paths.options, "language": options.language}
    figure = _new_figure(size)
    results = {_translated(name, options): path for name, path in paths.results.items()}
    more["ax"] = figure if more.get("side_by_side") else figure.add_subplot()
    if options.is_animated:
        with whole_file(options.path) as temporary:
            plots.animate_path(paths.fun, results, temporary, **more)
        return
    plots.plot_path(paths.fun, results, **more)
    _save(figure, options.path)


def _translated(name: str, options: DrawOptions) -> str:
    return _KOREAN.get(name, name) if options.language == "ko" else name


def _descend(rules: dict[str, Any], steps: int) -> dict[str, Any]:
    """Return the paths of rules in the ravine."""
    ravine = examples.ravine
    return {
        name: fastgd.minimize(ravine, ravine.start, optimizer=rule, max_iter=steps, tol=0.0)
        for name, rule in rules.items()
    }


def _paths() -> Paths:
    rules = {
        "gradient descent": optimizers.GradientDescent(0.95),
        "momentum": optimizers.Momentum(0.1),
        "AdaGrad": optimizers.AdaGrad(1.5),
        "RMSProp": optimizers.RMSProp(0.3),
        "Adam": optimizers.Adam(0.3),
    }
    return Paths(examples.ravine, _descend(rules, 30), {})


def _rates() -> Paths:
    rules = {f"η = {rate}": optimizers.GradientDescent(rate) for rate in (0.1, 0.95, 1.02)}
    return Paths(examples.ravine, _descend(rules, 20), {"side_by_side": True})


def _gradients() -> Paths:
    rules = {"gradient descent": optimizers.GradientDescent(0.95)}
    return Paths(examples.ravine, _descend(rules, 30), {"gradients": True})


def _batches() -> Paths:
    """Return paths of batch, mini-batch and stochastic descent on two columns of the diabetes data."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False, as_frame=True)
    X, y = data.data[["bmi", "s5"]], data.target
    X = (X - X.mean()) / X.std()
    results = {}
    ways: list[tuple[str, Any, float, int]] = [
        ("batch", "full", 0.3, 20),
        ("32 rows", 32, 0.1, 4),
        ("1 row", 1, 0.01, 2),
    ]
    for name, size, rate, epochs in ways:
        rule, iterates = optimizers.GradientDescent(rate), Iterates(every=1 if size != 1 else 5)
        options: dict[str, Any] = {"standardize": False, "max_iter": epochs, "tol": 0.0, "random_state": 0}
        fastgd.LinearRegression(optimizer=rule, batch_size=size, **options).fit(X, y, callbacks=iterates)
        results[name] = iterates
    surface = plots.LossSurface(fastgd.LinearRegression(alpha=0.0).fit(X, y), X, y)
    return Paths(surface, results, {"side_by_side": True, "axis_names": surface.names})


#: Kinds that draw paths.
PATHS: dict[str, Callable[[], Paths]] = {
    "paths": _paths,
    "rates": _rates,
    "gradients": _gradients,
    "batches": _batches,
}


def _draw_momentum(figure: Figure, options: DrawOptions) -> None:
    plots.plot_step(examples.ravine, [-3.0, 1.0], [1.0, -1.0], rate=0.25, ax=figure, language=options.language)


def _draw_nesterov(figure: Figure, options: DrawOptions) -> None:
    ravine = examples.ravine
    plots.plot_nesterov(ravine, ravine.start, ax=figure.add_subplot(), language=options.language)


def _draw_starts(figure: Figure, options: DrawOptions) -> None:
    """Draw descents from several starts into local minima, past a saddle and on a plateau."""
    shown = (
        ("local minima", examples.valleys, 0.02),
        ("saddle", examples.saddle, 0.1),
        ("plateau", examples.plateau, 0.5),
    )
    for axes, (name, function, rate) in zip(figure.subplots(1, 3), shown, strict=True):
        rule, is_last = optimizers.GradientDescent(rate), function is examples.plateau
        result = fastgd.minimize(function, function.start, optimizer=rule, max_iter=80, n_starts=6, random_state=1)
        title = _translated(name, options)
        plots.plot_path(function, result, ax=axes, title=title, legend=is_last, language=options.language)


def _draw_history(figure: Figure, options: DrawOptions) -> None:
    fits = _saved(options) or {name: _example_fit(name) for name in ("gd", "nesterov", "adam")}
    plots.plot_history(fits, ax=figure, language=options.language)


def _example_fit(rule: str) -> Any:
    """Fit breast-cancer data by a rule with early stopping."""
    X, y = _cancer()
    options: dict[str, Any] = {"batch_size": 32, "max_iter": 30, "early_stopping": True, "random_state": 0}
    return fastgd.LogisticRegression(optimizer=rule, **options).fit(X, y)  # type: ignore[arg-type]


def _cancer() -> tuple[Any, Any]:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    return data.data, data.target


def _saved(options: DrawOptions) -> dict[str, Any]:
    """Return saved models by their names."""
    models = {str(path): fastgd.load(path) for path in options.source or ()}
    return {path if len(models) > 1 else Path(path).stem: model for path, model in models.items()}


def _draw_schedules(figure: Figure, options: DrawOptions) -> None:
    shapes = {
        "constant": 0.1,
        "step": schedules.StepDecay(0.1, every=15),
        "exponential": schedules.ExponentialDecay(0.1),
        "cosine": schedules.CosineDecay(0.1),
        "warmup": schedules.WarmUp(epochs=5, then=schedules.CosineDecay(0.1)),
        "onecycle": schedules.OneCycle(0.1),
        "on plateau": schedules.ReduceOnPlateau(0.1, patience=9),
    }
    shapes = {_translated(name, options): shape for name, shape in shapes.items()}
    plots.plot_schedule(shapes, ax=figure.add_subplot(), language=options.language)


def _draw_finder(figure: Figure, options: DrawOptions) -> None:
    model = fastgd.LogisticRegression(optimizer="gd", batch_size=64, random_state=0)
    plots.plot_rate_finder(model, *_cancer(), ax=figure.add_subplot(), language=options.language)


def _draw_coefficients(figure: Figure, options: DrawOptions) -> None:
    models, scales = _saved(options), None
    if not models:
        X, y = _cancer()
        scales = X.std().to_numpy()
        models = {
            name: fastgd.LogisticRegression(alpha=0.01, l1_ratio=ratio).fit(X, y)
            for name, ratio in (("ridge", 0.0), ("lasso", 1.0))
        }
    shown = models if len(models) > 1 else next(iter(models.values()))
    plots.plot_coefficients(shown, ax=figure.add_subplot(), top=12, scales=scales, language=options.language)


def _draw_penalties(figure: Figure, options: DrawOptions) -> None:
    from sklearn.datasets import load_diabetes

    data = load_diabetes(as_frame=True)
    X = data.data / data.data.std()
    models = [
        fastgd.LinearRegression(alpha=alpha, l1_ratio=1.0).fit(X, data.target) for alpha in np.geomspace(0.05, 50.0, 25)
    ]
    plots.plot_coefficient_path(models, ax=figure.add_subplot(), language=options.language)


def _draw_bench(figure: Figure, options: DrawOptions) -> None:
    from fastgd.bench.result import RESULTS

    sources = options.source
    if not sources:
        known = (Path("fastgd-bench/bench.json"), RESULTS)
        sources = [path for path in known if path.exists()][:1]
    if not sources:
        raise InputError("draw bench: there is no fastgd-bench/bench.json; run 'fastgd bench', or add --from FILE")
    try:
        plots.plot_bench(sources, ax=figure, language=options.language)
    except (ValueError, KeyError) as error:
        raise InputError(f"draw bench: {', '.join(map(str, sources))} cannot be drawn: {error}") from error


#: Other kinds.
OTHERS: dict[str, Callable[[Figure, DrawOptions], None]] = {
    "momentum": _draw_momentum,
    "nesterov": _draw_nesterov,
    "starts": _draw_starts,
    "history": _draw_history,
    "schedules": _draw_schedules,
    "finder": _draw_finder,
    "coefficients": _draw_coefficients,
    "penalties": _draw_penalties,
    "bench": _draw_bench,
}
