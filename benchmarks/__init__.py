"""Measurements; every script says how to run it."""
