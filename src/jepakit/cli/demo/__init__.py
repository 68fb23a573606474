"""``jepakit demo``: every system on data that is built in, beside the strongest of what needs no jepakit."""
