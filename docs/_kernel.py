"""The settings of the processes that run the code cells of the pages, read by IPython; `c` is its configuration."""

c = get_config()  # noqa: F821
c.IPKernelApp.matplotlib = "inline"
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.rc = {
    "figure.figsize": (6.4, 3.6),
    "figure.constrained_layout.use": True,
    # The colours of Okabe and Ito, as in fastgd.plots: people with colour blindness distinguish them.
    "axes.prop_cycle": "cycler('color', ['0072B2', 'D55E00', '009E73', 'CC79A7', 'E69F00', '56B4E9', '000000'])",
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "fastgd",  # the same file from the same figure
}
c.IPKernelApp.log_level = "ERROR"
c.HistoryManager.enabled = False
