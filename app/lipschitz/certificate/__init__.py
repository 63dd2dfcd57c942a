"""Certificates that others can check."""
