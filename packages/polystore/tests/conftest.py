"""What the tests of this package share."""

from __future__ import annotations

from hypothesis import settings

# A busy machine may take long over one example; that is no failure. The timeout of the whole test stays.
settings.register_profile("workspace", deadline=None)
settings.load_profile("workspace")
