"""The objective of a fit: data, loss and penalty in working coordinates, and the protocol that devices implement."""
