"""A viewer whose module cannot be imported."""

import a_package_that_nobody_has  # noqa: F401


class NeedsMore:
    pass
