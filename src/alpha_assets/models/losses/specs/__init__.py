"""Declarations of loss terms, one family of them per file; none of them loads torch.

The arithmetic of a family lies under the same name in the folder above, and `build` imports it.
"""
