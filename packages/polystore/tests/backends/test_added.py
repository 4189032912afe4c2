from __future__ import annotations

from typing import Any

import pytest

from polystore.backends._added import split_added


@pytest.mark.parametrize(
    ("components", "known", "words"),
    [
        ({"well": "A01", "site": 3}, {"well": "A01", "site": 3}, ""),
        ({"well": "A01", "laser": 2, "rotation": 90}, {"well": "A01"}, "Rotation_090_Laser_002"),
        ({"laser": "red"}, {}, "Laser_red"),
        ({"laser": None, "rotation": True}, {}, "Rotation_True"),
        ({"colour": 3, "laser": 1}, {"colour": 3}, "Laser_001"),  # the key will refuse it
    ],
)
def test_added_components_go_into_the_name_in_the_order_of_the_configuration(
    components: dict[str, Any], known: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystore.constants.component_names", lambda: ("well", "rotation", "laser"))
    assert split_added(components) == (known, words)
