"""The specification stands alone."""

import subprocess
import sys

PROGRAM = """
import sys
import fastgd.reference
loaded = {name.split(".")[0] for name in sys.modules} & {"numba", "scipy", "sklearn", "torch"}
ours = {name for name in sys.modules if name.startswith("fastgd.") and not name.startswith("fastgd.reference")}
sys.exit(f"{loaded} {ours}" if loaded or ours else 0)
"""


def test_imports_numpy_only():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
