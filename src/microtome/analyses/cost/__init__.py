"""Parameters, operations, latency and memory of networks."""

from microtome.analyses.cost.cost import Cost as Cost
