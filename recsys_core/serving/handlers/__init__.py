"""Job kinds that make or try what serves: found by the registry beside those of `jobs.handlers`."""
