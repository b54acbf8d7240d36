"""GraphQL of the live stream and the stored one: devices at work, recordings, subscriptions."""
