"""The order in which the rows of an epoch are visited."""

from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.shuffle import RUN, WINDOW, bit_length, feistel, make_key, permute


@jitable
def fill_window(window, n, batches, order, runs):
    """Write the rows of a window in the order of visits; `runs` is scratch."""
    base = window * WINDOW
    size = min(WINDOW, n - base)
    whole = n // RUN
    key = make_key(batches.seed, batches.epoch, 0)
    first = base // RUN
    for q in range((size + RUN - 1) // RUN):
        run = first + q
        runs[q] = permute(run, whole, key) if run < whole else run
    key = make_key(batches.seed, batches.epoch, 1 + window)
    bits = bit_length(size - 1)
    # Separate from the cycle walking, so that this loop vectorises; a full window needs none.
    for i in range(size):
        order[i] = feistel(i, bits, key)
    for i in range(size):
        q = order[i]
        while q >= size:
            q = feistel(q, bits, key)
        order[i] = runs[unsigned(q // RUN)] * RUN + q % RUN


@jitable
def write_rows(at, m, n, batches, schedule, rows, to):
    """Write the rows at positions [at, at + m) of the epoch to rows[to : to + m]; past the end the last row."""
    i = 0
    while i < m:
        t = min(at + i, n - 1)
        if not batches.shuffle:
            rows[to + i] = t
            i += 1
            continue
        window = t // WINDOW
        half = window % 2
        if schedule.filled[half] != window:
            fill_window(window, n, batches, schedule.order[half], schedule.runs)
            schedule.filled[half] = window
        offset = t - window * WINDOW
        count = min(m - i, WINDOW - offset, n - t)
        for q in range(count):
            rows[to + i + q] = schedule.order[half, unsigned(offset + q)]
        i += count


@kernel_factory
def make_order():
    """Make the kernel `order(window, n, batches, out, runs)`: the rows of a window in `out`; `runs` is scratch."""

    @cpu_kernel("order")
    def order(window, n, batches, out, runs):
        fill_window(window, n, batches, out, runs)

    return order
