"""How each kind of model scores, a file each; found by the registry (kind "form")."""
