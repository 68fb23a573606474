"""Traces that need no download."""
