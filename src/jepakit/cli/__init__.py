"""The command line `jepakit`."""
