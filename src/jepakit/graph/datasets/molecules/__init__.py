"""Molecules from SMILES: tables, atom and bond features, descriptors, the scaffold split."""
