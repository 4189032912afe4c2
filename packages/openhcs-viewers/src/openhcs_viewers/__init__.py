"""openhcs-viewers."""
