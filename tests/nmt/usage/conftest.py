from tests.nmt.interop.conftest import vocabulary_path

__all__ = ["vocabulary_path"]
