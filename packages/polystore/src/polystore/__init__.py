"""polystore."""
