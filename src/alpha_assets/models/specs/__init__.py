"""Declarations of rankers, one per file; none of them loads torch.

The network of a declaration lies under the same name in the folder above, and `build` imports it.
"""
