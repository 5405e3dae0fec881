"""`tricklint.toml` or `[tool.tricklint]`, `--config` and the command line → one frozen `Settings`.

Layers are checked one by one, so that an error names where the wrong key stands, then laid over each other: the later
layer wins. An unknown key is an error that names the nearest key; a wrong type says what is expected.
"""

from tricklint.settings.kinds import nearest
from tricklint.settings.load import common_folder, load
from tricklint.settings.model import (
    DEFAULT_EXCLUDE,
    OOM_GUARDS,
    OUTPUT_FORMATS,
    MemorySettings,
    ModelSettings,
    NormalizeSettings,
    Refused,
    Selection,
    Settings,
    TransferSettings,
    VerifySettings,
)
from tricklint.settings.read import CONFIG_FILES, SettingsError, config_of, find_config

__all__ = [
    "CONFIG_FILES",
    "DEFAULT_EXCLUDE",
    "OOM_GUARDS",
    "OUTPUT_FORMATS",
    "MemorySettings",
    "ModelSettings",
    "NormalizeSettings",
    "Refused",
    "Selection",
    "Settings",
    "SettingsError",
    "TransferSettings",
    "VerifySettings",
    "common_folder",
    "config_of",
    "find_config",
    "load",
    "nearest",
]
