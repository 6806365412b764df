"""The causality certificate: proof that what came later changed nothing that was decided."""

from alpha_assets.audit.certificate import Certificate, Trial, audit, choose_cuts

__all__ = ["Certificate", "Trial", "audit", "choose_cuts"]
