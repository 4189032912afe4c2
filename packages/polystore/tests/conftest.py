"""What the tests of this package share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine may take long over one example; that is no failure. The timeout of the whole test stays.
settings.register_profile("workspace", deadline=None)
settings.load_profile("workspace")


@pytest.fixture(scope="session", autouse=True)
def _caches_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache folder out of it, also in the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("OPENHCS_DISABLE_REGISTRY_CACHE", raising=False)
        yield
