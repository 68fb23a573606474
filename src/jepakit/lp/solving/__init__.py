"""Solving a problem and checking the answer: HiGHS, bases, certificates, repair, scaling, first-order iterations."""
