"""Barriers for threads that share the batches of a mini-batch loop: a call an operation would cost more than the work.

Every thread is one of the operating system's own and all of them run, so that none waits for a thread that never
starts; where one cannot go on, `stop` lets the others return.
"""

from typing import Any

from fastgd.kernels._intrinsics import give_way, observe, publish
from fastgd.kernels._jit import jitable

#: Words of a cache line, so that threads that publish do not disturb each other.
LINE = 8
#: Looks at the others, some ten microseconds of them, after which a waiting thread offers its core.
PATIENCE = 4096


@jitable
def meet(team: Any) -> Any:
    """Wait until all threads of the team have come here; what they wrote before is seen after. False: stop."""
    if team.members == 1:
        return True
    own = LINE * (1 + team.member)
    count = observe(team.reached, own) + 1
    publish(team.reached, own, count)
    looks = 0
    for other in range(team.members):
        while observe(team.reached, LINE * (1 + other)) < count:
            if observe(team.reached, 0) != 0:
                return False
            looks += 1
            if looks % PATIENCE == 0:
                give_way()
    return True
