"""Pretrained backbones by their published names: whether they hold BatchNorm layers, and what images they were trained
on.

Sources, read November 2026: torchvision.models (0.28, https://docs.pytorch.org/vision/stable/models.html), timm's
`default_cfgs` (1.0, https://huggingface.co/docs/timm), segmentation_models_pytorch encoders
(https://smp.readthedocs.io/en/latest/encoders.html), pretrainedmodels, efficientnet_pytorch. Whether timm's families have BatchNorm: timm
1.0.31's models, built on meta.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tricklint.knowledge.timm_inputs import expected

# Families whose every published variant uses BatchNorm; look-aheads name the exceptions (BiT's resnetv2: GroupNorm).
_BATCH_NORM = re.compile(
    r"(?:timm-|tu-|tf_|gluon_|legacy_|swsl_|ssl_|ig_|skl?_?|se_?|eca_?|nf_?x?)*"
    r"(?:resnet(?!v2)|resnext|wide_resnet|resnest|res2ne|efficientnet|mobilenet|densenet|inception|googlenet|shufflenet|"
    r"mnasnet|regnet|xception|hrnet|dpn\d|dla\d|senet|seresn|se_resn|skresn|ecaresn|cspresnet|cspdarknet|vgg\d+_bn|"
    r"nasnet|pnasnet|fcn_resnet|deeplabv3|lraspp|r3d_18|mc3_18|r2plus1d|maxvit|ghostnet|rexnet|repvgg|hardcorenas|"
    r"fbnet|spnasnet|mixnet|selecsls|tresnet|bninception|fbresnet|polynet|bat_resne|botnet|coatnet|convmixer|cpubone|cs3|"
    r"cspnext|cspresnext|darknet|efficientformer|efficientvim|efficientvit|ese_vovnet|fasternet|fastvit|gcresne|gernet|halo|"
    r"mobilevit|hgnet|iformer|lambda_|lamhalobotnet|lcnet|levit|lowformer|mobileone|nextvit|repghostnet|repvit|sebotnet|sedarknet|"
    r"sehalonet|shvit|starnet|swiftformer|tiny_vit|tinynet|visformer|volo|vovnet)",
    re.IGNORECASE,
)
_NO_BATCH_NORM = re.compile(
    r"(?:vgg\d+$|alexnet|squeezenet|vit|deit|beit|swin|convnext|mixer|mit_b|resnetv2|nfnet|nf_|dm_nf|eva|cait|xcit|"
    r"pvt|bert|roberta|gpt|clip|caformer|coat_|coatnext|convformer|convit|crossvit|davit|edgenext|flexivit|focalnet|gcvit|"
    r"gmixer|gmlp|hiera|mambaout|maxxvit|mvitv|nest|pit_|poolformer|rdnet|resmlp|sam2?_|samvit|sequencer|tnt_|twins)",
    re.IGNORECASE,
)


def has_batch_norm(name: str) -> bool | None:
    """Whether the published model of that name holds BatchNorm layers with running statistics; None when unknown."""
    name = name.rpartition("/")[2].partition(".")[0] if "/" in name else name.partition(".")[0]
    if _NO_BATCH_NORM.match(name):
        return False
    return True if _BATCH_NORM.match(name) else None


@dataclass(frozen=True)
class InputStats:
    """Mean and std per channel (RGB; empty when not known) of images scaled to [0, 1], as a model expects them."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = InputStats("ImageNet's", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION = InputStats("the Inception", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = InputStats("CLIP's", (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
KINETICS = InputStats("Kinetics'", (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))

UNNAMED = InputStats("their own", (), ())  # some mean and std of those that are published, but which is not known
PUBLISHED = (
    IMAGENET,
    INCEPTION,
    CLIP,
    InputStats("DPN's", (124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    InputStats("Caffe's", (123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3),
    InputStats("BN-Inception's", (128 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3),
    InputStats("no", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
)

_TIMM_TAGGED: dict[str, InputStats | None] = {"imagenet": IMAGENET, "half": INCEPTION, "clip": CLIP, "none": None}
# Names without a tag whose weights are others, with other statistics, from one release to the next
_TIMM_CHANGED = frozenset(
    ("vit_small_patch8_224", "efficientnet_b1", "efficientnet_b1_pruned", "efficientnet_b2_pruned", "efficientnet_b3_pruned",
     "convnext_zepto_rms", "convnext_zepto_rms_ols")
)  # fmt: skip
# timm families whose weights all ask for the same statistics
_TIMM_IMAGENET = re.compile(
    r"(?:resnet\d|resnext|wide_resnet|seresnet|densenet|mobilenetv3_large_100$|mobilenetv2|efficientnet_b|vgg|convnext(?!.*clip)|"
    r"swin_|deit_|deit3_|regnet[xy]_(?!.*sw)|hrnet|res2net|resnest|dla|dpn(?!.*))",
    re.IGNORECASE,
)
_TIMM_INCEPTION = re.compile(
    r"(?:vit_(?:tiny|small|base|large)_patch\d+_\d+$|inception_v4|inception_resnet_v2|tf_inception_v3|resnetv2_|mixer_|"
    r"tf_efficientnet_b\d_ap|beit_|vit_[a-z]+_r\d+_s\d+|vit_base_resnet50_(?:384$|224_in21k))",
    re.IGNORECASE,
)


def input_stats(family: str, name: str) -> InputStats | None:
    """What the weights of `name` expect: `UNNAMED` when every set of weights of the family wants a normalised image but
    not the same, None when images may be wanted as they are.

    family: as in `tricklint.knowledge.pretrained`. torchvision's classification models, `inception_v3` and `googlenet`
    included, all take ImageNet's statistics: the two transform their input themselves when pretrained.
    """
    short = name.rpartition(".")[2].rpartition("/")[2]
    if family == "torchvision":
        if ".detection." in name:
            return None  # GeneralizedRCNNTransform normalises inside the model
        if ".video." in name:
            return KINETICS if short in ("r3d_18", "mc3_18", "r2plus1d_18") else None
        return None if ".quantization." in name or ".optical_flow." in name else IMAGENET
    if family == "timm":
        name = name.rpartition("/")[2]
        if "." in name:  # a tag of its own: augreg, in21k, clip …
            return _TIMM_TAGGED.get(expected(name), UNNAMED)
        if not name or name in _TIMM_CHANGED:
            return UNNAMED
        if _TIMM_INCEPTION.match(short):
            return INCEPTION
        if _TIMM_IMAGENET.match(short):
            return IMAGENET
        return _TIMM_TAGGED.get(expected(short), UNNAMED)
    if family == "efficientnet":
        return IMAGENET
    if family == "cadene":
        return IMAGENET if re.match(r"(?:resnet|se_resnet|se_resnext|senet|densenet|dpn)", short) else UNNAMED
    if family == "smp":
        known = re.match(r"(?:resnet|se_resne|densenet|vgg|mobilenet|efficientnet|timm-resn|resnext)", short)
        return IMAGENET if known else UNNAMED
    if family == "hub":
        return (
            IMAGENET
            if re.match(r"(?:resnet|resnext|densenet|vgg|mobilenet|alexnet|squeezenet|wide_resnet)", short)
            else None
        )
    return None
