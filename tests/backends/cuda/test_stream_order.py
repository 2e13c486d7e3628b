"""Synchronisation of host, copies and kernels of a stream, which the simulator is too fast to test by results."""

from typing import NamedTuple

import numpy as np
import pytest

from fastgd.backends.cuda import stream as cuda_stream
from fastgd.backends.cuda.stream import Buffer, CudaStream
from tests.backends.cuda.rows import streamed
from tests.kernels.table import Case, sample

COPYING, WORKING = "copying", "working"


class Event:
    """An event that records its use."""

    def __init__(self, name, log):
        self.name, self._log = name, log

    def record(self, stream):
        self._log.append(("record", self.name, stream))

    def wait(self, stream):
        self._log.append(("wait", self.name, stream))


class Memory(NamedTuple):
    """A part of a buffer's memory on the device."""

    log: list
    start: int
    stop: int

    def __getitem__(self, part):
        start, stop, _ = part.indices(self.stop - self.start)
        return self._replace(start=self.start + start, stop=self.start + stop)

    def copy_to_device(self, source, stream):
        assert len(source) == self.stop - self.start
        self.log.append(("copy", (self.start, self.stop), stream))


@pytest.fixture
def log(monkeypatch):
    """Return the log of events and copies, in order."""
    found, names = [], iter(["sent", "used"])
    monkeypatch.setattr(cuda_stream, "new_event", lambda: Event(next(names), found))
    monkeypatch.setattr(cuda_stream, "wait", lambda event, *_: found.append(("wait", event.name, "host")))
    return found


@pytest.fixture
def buffer(log):
    made = Buffer(5, 4, np.float32)
    made.there = Memory(log, 0, 20)
    return made


def test_buffers_are_synchronised_between_streams(buffer, log):
    there = buffer.send(12, (COPYING, WORKING), np.empty(0, np.float32))
    assert (there.start, there.stop) == (0, 12)
    assert log == [
        ("wait", "used", COPYING),
        ("copy", (0, 12), COPYING),
        ("record", "sent", COPYING),
        ("wait", "sent", WORKING),
    ]


def test_both_copies_of_pinned_rows_are_waited_for(buffer, log):
    buffer.send(12, (COPYING, WORKING), np.zeros(8, np.float32))
    assert log == [
        ("wait", "used", COPYING),
        ("copy", (0, 8), COPYING),
        ("copy", (8, 12), COPYING),
        ("record", "sent", COPYING),
        ("wait", "sent", WORKING),
    ]


def test_host_waits_for_copies_and_releases_buffers(buffer, log):
    buffer.free()
    buffer.release(WORKING)
    assert log == [("wait", "sent", "host"), ("record", "used", WORKING)]


@pytest.fixture
def turns(monkeypatch):
    """Return a stream of five chunks, and the log of its two buffers."""
    found, numbers = [], iter(range(100))

    class Told(Buffer):
        def __init__(self, *shape):
            super().__init__(*shape)
            self.number = next(numbers)

        def free(self):
            found.append(("free", self.number))
            super().free()

        def send(self, numbers, streams, head):
            assert streams == (stream._copying, stream.stream)
            found.append(("send", self.number))
            return super().send(numbers, streams, head)

        def release(self, working):
            assert working is stream.stream
            found.append(("release", self.number))
            super().release(working)

    fill = CudaStream._fill

    def told_fill(self, host, *rest, **how):
        found.append(("fill", next(buffer.number for buffer in self._buffers if buffer.host is host)))
        fill(self, host, *rest, **how)

    monkeypatch.setattr(cuda_stream, "Buffer", Told)
    monkeypatch.setattr(CudaStream, "_fill", told_fill)
    stream = streamed(sample(Case("logistic", "f4", "C"), 40, 3), monkeypatch)
    return stream, found


def test_buffers_take_turns_and_each_is_freed_filled_sent_worked_on_and_released(turns):
    stream, found = turns
    for chunk in stream.chunks():
        found.append(("work", chunk.first))
    firsts = range(0, 40, 9)
    assert found == [
        step
        for number, first in enumerate(firsts)
        for step in (
            *((verb, number % 2) for verb in ("free", "fill", "send")),
            ("work", first),
            ("release", number % 2),
        )
    ]


def test_interrupted_work_releases_its_buffer(turns):
    stream, found = turns
    chunks = stream.chunks()
    next(chunks)
    chunks.close()
    assert found[-1] == ("release", 0)
