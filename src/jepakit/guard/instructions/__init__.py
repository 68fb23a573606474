"""Detection of instructions in what tools return, where a value of a call was read."""
