"""The only layer that speaks boto3: identities, shared clients, the collector, rate limits, change sets."""
