"""Array types and kernels that several rooms share."""
