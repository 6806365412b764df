"""The causality certificate, and the publication clock: what came later changed nothing."""

from alpha_assets.audit.certificate import (
    LIGHT_CUTS,
    Certificate,
    Trial,
    audit,
    choose_cuts,
)
from alpha_assets.audit.clock import ClockReport, ClockTrial, audit_clock
from alpha_assets.audit.perturb import DELETED, INSERTED, MIXED, NOISE, RESTATED

__all__ = [
    "DELETED",
    "INSERTED",
    "LIGHT_CUTS",
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
