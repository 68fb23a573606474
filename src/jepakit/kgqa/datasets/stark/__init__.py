"""The knowledge bases and questions of STaRK (Wu et al. 2024)."""
