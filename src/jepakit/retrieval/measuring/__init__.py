"""Measures of a search, and searches compared query by query."""
