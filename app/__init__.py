"""Lipserve: certified brackets on the Lipschitz constant of a neural network, as a REST service."""

__version__ = "0.1.0"
