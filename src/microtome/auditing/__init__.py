"""The design auditor: rules with stable ids, what they find in a network, and what mends it."""

from microtome.auditing.audit import Outcome, audited
from microtome.auditing.decay import param_groups
from microtome.auditing.rule import SEVERITIES, Fault, Rule, Severity

__all__ = ["SEVERITIES", "Fault", "Outcome", "Rule", "Severity", "audited", "param_groups"]
