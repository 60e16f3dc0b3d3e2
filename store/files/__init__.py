"""Files: durable writes, locks, staging, and the protocol of a place that holds named objects."""
