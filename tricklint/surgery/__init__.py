"""The tricks, done to a live model: `from tricklint import surgery`.

Every function works through the model's own module tree and its traced graph, keeps hooks, tied weights, devices and
dtypes (and state_dict keys, `normalize_head` excepted, which adds one), returns `Changes` that say what was done and
what was left alone, and raises `SurgeryError` before anything is touched when it does not understand the model.
"""

try:
    import torch as _torch  # noqa: F401 (asked for here, where what to install can be said)
except ModuleNotFoundError as error:
    raise ImportError(f"tricklint.surgery needs {error.name}: pip install 'tricklint[trace]'") from None

from tricklint.surgery.changes import Change, Changes, SurgeryError
from tricklint.surgery.freeze import freeze_backbone, freeze_norms, unfreeze
from tricklint.surgery.groups import param_groups
from tricklint.surgery.heads import NormalizedLinear, normalize_head, prior_bias
from tricklint.surgery.init import init_weights

__all__ = [
    "Change",
    "Changes",
    "NormalizedLinear",
    "SurgeryError",
    "freeze_backbone",
    "freeze_norms",
    "init_weights",
    "normalize_head",
    "param_groups",
    "prior_bias",
    "unfreeze",
]
