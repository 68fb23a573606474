"""Training of static encoders: tables of token vectors that predict the vectors of a frozen encoder.

`jepakit.search.static` answers queries with them.
"""
