"""Keeps distance tables that tests build out of the user's cache."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("JEPA_CACHE_DIR", str(folder))
        yield folder
