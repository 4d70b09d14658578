"""All public names can be imported from the package, and no module hides one."""

from __future__ import annotations

from types import ModuleType

import pytest

import probed.testing


@pytest.mark.parametrize("name", probed.testing.__all__)
def test_every_name_can_be_had(name: str) -> None:
    assert not isinstance(getattr(probed.testing, name), ModuleType)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(probed.testing, "nothing")  # noqa: B009  # mypy knows that it is not there
