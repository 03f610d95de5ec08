"""The data path from sources to the archive. Uses the ports and the core; never imports AWS modules."""
