"""The causality certificate: proof that what came later changed nothing that was decided."""

from alpha_assets.audit.certificate import Certificate, Trial, audit, choose_cuts
from alpha_assets.audit.perturb import DELETED, NOISE, RESTATED

__all__ = ["DELETED", "NOISE", "RESTATED", "Certificate", "Trial", "audit", "choose_cuts"]
