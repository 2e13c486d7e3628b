"""A warm-up that ends inside an epoch: what follows counts its epochs from there, and a begun one is none."""

from fastgd.schedules import WarmUp


def test_functions_are_told_of_whole_epochs_after_the_warm_up():
    seen = []

    def rate(step, epoch, metric):
        seen.append((step, epoch))
        return 0.5

    schedule = WarmUp(1.5, then=rate).bind(None, 10)
    state = schedule.start()
    for epoch in range(5):
        state = schedule.begin(state, 10 * epoch, epoch)
        state = schedule.observe(state, 1.0)
    # Epoch 2 begins half an epoch after the warm-up: none of what follows is done.
    assert seen == [(0, 0), (0, 0), (20, 0), (30, 1), (40, 2)]
