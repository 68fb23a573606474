"""Databases that others run, behind the interface of `jepakit.search.collection.Collection`."""
