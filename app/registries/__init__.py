"""Model registries and outbound webhooks."""
