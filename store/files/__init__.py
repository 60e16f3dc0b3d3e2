"""Files: durable writes, locks, staging, URLs, and the protocol of a place that holds named objects."""
