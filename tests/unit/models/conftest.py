import pytest


@pytest.fixture(scope="session", autouse=True)
def keras_backend():
    """Loads the backend as the command line does, with a thread count that other tests also use."""
    from fer_core.training import backend

    backend.load(2)
