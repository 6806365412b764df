"""Declarations of what trains and of what stops a training; none of them loads torch.

What computes lies under the same name in the folder above.
"""
