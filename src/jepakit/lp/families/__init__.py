"""Families of linear programs: combinatorial relaxations, power flow, and random instances around given problems."""
