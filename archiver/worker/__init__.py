"""The worker: receives messages, keeps their leases, and settles each of them."""
