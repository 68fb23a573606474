"""Traces read: strict JSON, texts folded for comparison, records of outputs, and where values come from."""
