"""Text as vectors: encoders, one file each, and a cache by content."""
