"""What jobs do: one kind a file, module name = kind."""
