"""The settings of the processes that run the code cells of the pages, read by IPython; `c` is its configuration."""

c = get_config()  # noqa: F821
c.IPKernelApp.matplotlib = "inline"
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.rc = {
    "figure.figsize": (6.4, 3.6),
    "figure.constrained_layout.use": True,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "fastgd",  # the same file from the same figure
}
c.IPKernelApp.log_level = "ERROR"
c.HistoryManager.enabled = False
