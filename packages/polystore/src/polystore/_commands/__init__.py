"""What each command of ``polystore`` does, a module per command; see `polystore._cli`."""
