"""The public names: a new one needs a reason, a lost one breaks somebody."""

from __future__ import annotations

import openhcs_viewers
from openhcs_viewers import errors

NAMES = """
FijiDimensionMode FijiDisplayConfig FijiLUT FijiStreamVisualizer FijiStreamingConfig FijiViewerServer
GlobalPipelineConfig LazyFijiStreamingConfig LazyNapariStreamingConfig
NapariColormap NapariDimensionMode NapariDisplayConfig NapariStreamVisualizer NapariStreamingConfig
NapariVariableSizeHandling PipelineConfig StreamingConfig Viewer ViewerError ViewerHandle ViewerServer __version__
find_viewer launch list_viewers show
"""


def test_public_names() -> None:
    assert openhcs_viewers.__all__ == NAMES.split() == sorted(NAMES.split())


def test_every_error_is_in_the_tree_its_module_draws() -> None:
    assert errors.__all__ == sorted(errors.__all__)
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, errors.ViewerError)
        assert (
            name == "ViewerError"
            or f"{name} (also" in (errors.__doc__ or "")
            or f"- {name}\n" in errors.__doc__
            or (f"+ {name}\n" in errors.__doc__)
        )
