"""
Against servers that others wrote: LocalStack for SQS and S3, SeaweedFS for S3 with credentials that are checked.

Run by `make e2e`, which installs both, each into an environment of its own.
"""
