"""What each command of ``openhcs-viewers`` does, a module per command; see `openhcs_viewers._cli`."""
