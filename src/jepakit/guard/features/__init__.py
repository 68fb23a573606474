"""A judge of where the values of a call come from and what its tool does, whatever the words around them."""
