"""Linear programs in files and in other libraries: MPS, LP, solutions, bases, SciPy, CVXPY, linopy."""
