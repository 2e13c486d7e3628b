"""The compiled kernels of fastgd: scalar mathematics and the loops that apply it to memory.

Installed as ``fastgd.kernels``. It depends neither on scikit-learn and scipy nor on the package above it.
"""

if __name__ == "kernels":
    raise ImportError(
        "this folder is installed as 'fastgd.kernels' and is not the package 'kernels': write 'import fastgd.kernels'"
    )
