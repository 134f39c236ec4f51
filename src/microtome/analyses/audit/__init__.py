"""The design auditor: rules with stable ids, what they find in a network, and how it is repaired."""

from microtome.analyses.audit.audit import Audit as Audit
