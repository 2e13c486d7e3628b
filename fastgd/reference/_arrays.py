"""The array types of the reference: everything is float64, labels and row numbers are int64."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
