"""A file whose lines end in a carriage return alone is read as any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tricklint.check import Options, run
from tricklint.settings import load
from tricklint.testing import EXPECT

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.mark.parametrize("end", ["\r", "\r\n"])
@pytest.mark.parametrize(
    "name", ["row-append-loop/bad_concat_files.py", "symmetric-init/bad_all_parameters_by_any_name.py", "symmetric-init/bad_called_from_outside.py"]
)
def test_line_ends(tmp_path: Path, name: str, end: str) -> None:
    text = (FIXTURES / name).read_text()
    (tmp_path / "train.py").write_bytes(text.replace("\n", end).encode())
    codes = sorted(EXPECT.findall(text))
    settings = load([tmp_path], isolated=True, options={"select": codes})
    assert sorted(found.code for found in run([tmp_path], settings, Options(cache=False)).findings) == codes != []
