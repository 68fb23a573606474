"""Hooks of agents: small programs that ask `jepakit.guard.serving`. An agent waits for them, so they import little."""
