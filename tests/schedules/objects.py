"""Schedules for the tests, and a fit that does nothing but ask for rates."""

from fastgd.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    FromFunction,
    InverseTimeDecay,
    OneCycle,
    PolynomialDecay,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)


def halving(step, epoch, metric):
    """A user's function; at the top of a module, so that it can be pickled."""
    return 0.5**epoch


#: One of each that needs no losses, bound; some in others.
STATELESS = [
    Constant(0.2),
    StepDecay(0.2, factor=0.3, every=3),
    ExponentialDecay(0.2, factor=0.9),
    InverseTimeDecay(0.2, decay=0.5, power=0.75),
    PolynomialDecay(0.2, final=0.01, power=2.0, epochs=7),
    CosineDecay(0.2, final=0.01, epochs=7),
    CosineDecay(0.2, restart_every=3, growth=2.0),
    OneCycle(0.2, epochs=15),
    WarmUp(2, then=StepDecay(0.2, every=3)),
    WarmUp(2.5, then=WarmUp(1, then=CosineDecay(0.2, restart_every=2))),
    FromFunction(halving),
]
ALL = [*STATELESS, ReduceOnPlateau(0.2), WarmUp(1, then=ReduceOnPlateau(0.2))]


def watch(schedule, losses):
    """Return the rate of every epoch, and all states."""
    state = schedule.start()
    rates, states = [], [state]
    for epoch, loss in enumerate([*losses, None]):
        state = schedule.begin(state, 7 * epoch, epoch)
        rates.append(float(schedule.rates([7 * epoch], [epoch], state)[0]))
        if loss is not None:
            state = schedule.observe(state, loss)
            states.append(state)
    return rates, states
