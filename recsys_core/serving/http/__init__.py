"""The service: bundles over HTTP."""
