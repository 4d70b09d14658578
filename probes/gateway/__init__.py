"""Gateways and HTTP services: reachable, quick, healthy, and if not, because of whom."""

from probes.gateway.probe import GatewayProbe

__all__ = ["GatewayProbe"]
