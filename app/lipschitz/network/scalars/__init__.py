"""Every scalar function's value and derivative, enclosed; docs/decisions/0012-scalar-enclosures.md lists them.

The only place: rules, fused expressions and certificates read the functions made here.
"""
