"""Stripe: the API, the events, our webhook endpoint, and whether the application keeps up."""

from probes.stripe.probe import StripeProbe

__all__ = ["StripeProbe"]
