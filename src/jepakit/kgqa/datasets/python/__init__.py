"""The built-in graph and its questions: nothing to download."""
