"""Classifiers on frozen features, nested selection of their hyper-parameters, and kernels to compare with."""
