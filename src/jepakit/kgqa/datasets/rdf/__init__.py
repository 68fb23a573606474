"""RDF: files, and SPARQL endpoints."""
