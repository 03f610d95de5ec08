"""Adapters to AWS: the only package that imports AWS libraries. It maps their errors to `archiver.errors`."""
