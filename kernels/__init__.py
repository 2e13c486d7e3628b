"""The compiled floor of fastgd: scalar mathematics and the loops that run it over memory.

Installed as ``fastgd.kernels``. It knows nothing of scikit-learn, scipy, files or users.
"""

if __name__ == "kernels":
    raise ImportError(
        "this folder is installed as 'fastgd.kernels' and is not the package 'kernels': write 'import fastgd.kernels'"
    )
