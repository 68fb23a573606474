"""Queries without a transformer and without torch: a static encoder, its gate, and the search of an index, in numpy.

`jepakit.retrieval.static` trains the encoder.
"""
