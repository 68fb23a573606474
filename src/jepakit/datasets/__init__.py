"""What the systems' datasets share: where data are looked up, fetched to and cached."""
