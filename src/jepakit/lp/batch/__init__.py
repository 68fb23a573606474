"""Many scenarios of one matrix: remembered bases, tried and certified on all at once."""
