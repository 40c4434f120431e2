"""High-level features: what the training part tells about users and items beyond their tables. One file each."""
