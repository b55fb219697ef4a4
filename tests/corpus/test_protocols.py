"""What stands for a language identifier as input of a job."""

from pathlib import Path

import pytest

from corpus.errors import UserError
from corpus.protocols import identifier_inputs


def test_checksums_stand_for_an_identifier_whatever_else_changes(tmp_path: Path) -> None:
    for name in ("checksums.json", "model.bin", "config.yaml", "report.html"):
        (tmp_path / name).write_text(name)
    assert identifier_inputs(tmp_path) == (tmp_path / "checksums.json",)
    (tmp_path / "checksums.json").unlink()
    assert identifier_inputs(tmp_path) == (tmp_path / "model.bin",)


def test_directory_without_an_identifier_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(UserError, match=r"neither checksums\.json nor model\.bin"):
        identifier_inputs(tmp_path)
