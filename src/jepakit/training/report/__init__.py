"""The report of a run: one HTML page made from what is in the run folder."""
