"""The causality certificate, and the publication clock: what came later changed nothing."""

from alpha_assets.audit.certificate import (
    Certificate,
    Trial,
    audit,
    choose_cuts,
)
from alpha_assets.audit.perturb import DELETED, INSERTED, MIXED, NOISE, RESTATED
from alpha_assets.audit.publication_test import ClockReport, ClockTrial, audit_clock

__all__ = [
    "DELETED",
    "INSERTED",
    "MIXED",
    "NOISE",
    "RESTATED",
    "Certificate",
    "ClockReport",
    "ClockTrial",
    "Trial",
    "audit",
    "audit_clock",
    "choose_cuts",
]
