"""Put `_torchvision_ops` into the site-packages of the Python that runs this."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

place = Path(sysconfig.get_paths()["purelib"])
shutil.copy(Path(__file__).with_name("_torchvision_ops.py"), place)
# Read at each start of this Python, after the tool's own (they are read in the order of their names).
(place / "zz_torchvision_ops.pth").write_text("import _torchvision_ops\n")
