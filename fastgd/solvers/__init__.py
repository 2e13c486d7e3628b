"""Solvers: written once for any loss, penalty and device, over `fastgd.objective`."""
