"""What fits have to convert, how many bytes that takes, and that it is told."""

import numpy as np
import pandas as pd
import pytest

from fastgd import LinearRegression


def frame(kinds):
    return pd.DataFrame({f"c{j}": np.arange(8, dtype=kind) ** j for j, kind in enumerate(kinds)})


CONVERTED = {
    "int64": (np.arange(24).reshape(8, 3), 8 * 24),
    "bool": (np.eye(8, 3, dtype=bool), 8 * 24),
    "float16": (np.eye(8, 3, dtype=np.float16), 8 * 24),
    "float32 of the other byte order": (np.eye(8, 3, dtype=">f4"), None),
    "strided float32": (np.eye(8, 6, dtype=np.float32)[:, ::2], 4 * 24),
    "reversed float64": (np.eye(8, 3)[::-1], 8 * 24),
    "list": (np.eye(8, 3).tolist(), 8 * 24),
    "frame of float64 and int64": (frame(["f8", "i8", "f8"]), 8 * 24),
    "frame of float32 and float64": (frame(["f4", "f8", "f4"]), 8 * 24),
    "C": (np.eye(8, 3), 0),
    "F": (np.asfortranarray(np.eye(8, 3, dtype=np.float32)), 0),
    "frame of one block": (pd.DataFrame(np.eye(8, 3)), 0),
    "rows of a larger array": (np.eye(16, 3)[4:12], 0),
    "transposed": (np.eye(3, 8).T, 0),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_bytes_converted(name, caplog):
    X, nbytes = CONVERTED[name]
    y = np.arange(8.0) % 3
    with caplog.at_level("INFO", "fastgd"):
        report = LinearRegression(alpha=0.1).fit(X, y).fit_report_
    if nbytes is None:
        nbytes = 24 * np.dtype(report["dtype"]).itemsize
    assert report["bytes_converted"] == nbytes
    assert any("converted once" in record.getMessage() for record in caplog.records) == (nbytes > 0)
    same = LinearRegression(alpha=0.1).fit(np.ascontiguousarray(X, report["dtype"]), y)
    assert report["objective"] == pytest.approx(same.fit_report_["objective"], rel=1e-6)
