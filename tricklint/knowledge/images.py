"""Image transforms: which leave pixel values as they are (up to colour and geometry), which scale, which normalise.

Sources: torchvision.transforms and transforms.v2 (0.28), albumentations (1.4), torchvision.datasets; read November
2026.
"""

from __future__ import annotations


def _functional(*names: str) -> tuple[str, ...]:
    """The functions behind the transforms, of both versions."""
    return tuple(f"torchvision.transforms.{version}functional.{name}" for version in ("", "v2.") for name in names)


# Geometry and colour: the values stay images in the range they came in
NEUTRAL = frozenset((
    # torchvision
    "Resize", "Scale", "CenterCrop", "RandomCrop", "RandomResizedCrop", "RandomSizedCrop", "RandomHorizontalFlip",
    "RandomVerticalFlip", "RandomRotation", "RandomAffine", "RandomPerspective", "ColorJitter", "Grayscale",
    "RandomGrayscale", "GaussianBlur", "Pad", "ToPILImage", "RandomErasing", "AutoAugment", "RandAugment",
    "TrivialAugmentWide", "AugMix", "RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize", "RandomInvert",
    "RandomPosterize", "RandomSolarize", "ElasticTransform", "RandomZoomOut", "RandomPhotometricDistort", "RGB",
    "RandomResize", "RandomShortestSize", "ScaleJitter", "RandomChannelPermutation", "JPEG",
    # albumentations
    "HorizontalFlip", "VerticalFlip", "Flip", "Transpose", "Rotate", "RandomRotate90", "ShiftScaleRotate", "Affine",
    "RandomBrightnessContrast", "RandomBrightness", "RandomContrast", "HueSaturationValue", "RGBShift", "RandomGamma",
    "CLAHE",
    "Blur", "MotionBlur", "MedianBlur", "GaussNoise", "ISONoise", "CoarseDropout", "Cutout", "GridDistortion",
    "OpticalDistortion", "SmallestMaxSize", "LongestMaxSize", "PadIfNeeded", "Perspective", "ToGray", "ChannelShuffle",
    "ImageCompression", "Downscale", "Sharpen", "Emboss", "HueSaturation", "AdditiveNoise", "AdvancedBlur",
    "BBoxSafeRandomCrop", "Crop", "CropAndPad", "CropNonEmptyMaskIfExists", "D4", "Defocus", "Equalize", "Erasing",
    "FancyPCA", "GlassBlur", "GridDropout", "InvertImg", "JpegCompression", "MaskDropout", "Morphological",
    "MultiplicativeNoise", "NoOp", "PiecewiseAffine", "PixelDropout", "PlanckianJitter", "Posterize",
    "RandomCropFromBorders", "RandomCropNearBBox", "RandomFog", "RandomGravel", "RandomGridShuffle", "RandomRain",
    "RandomScale", "RandomShadow", "RandomSizedBBoxSafeCrop", "RandomSnow", "RandomSunFlare", "RandomToneCurve",
    "RingingOvershoot", "SafeRotate", "Solarize", "Spatter", "SquareSymmetry", "Superpixels", "ThinPlateSpline",
    "ToSepia", "UnsharpMask", "XYMasking", "ZoomBlur",
    "IAAAdditiveGaussianNoise", "IAAAffine", "IAACropAndPad", "IAAEmboss", "IAAFliplr", "IAAFlipud", "IAAPerspective",
    "IAAPiecewiseAffine", "IAASharpen", "IAASuperpixels",
))  # fmt: skip
# Of these, what prepares a picture for the network, in evaluation too
SIZING = frozenset((
    "Resize", "Scale", "CenterCrop", "RandomCrop", "RandomResizedCrop", "RandomSizedCrop", "Pad", "SmallestMaxSize",
    "LongestMaxSize", "PadIfNeeded",
))  # fmt: skip
CHOICES = frozenset(("OneOf", "SomeOf", "RandomApply", "RandomChoice", "RandomOrder", "OneOrOther"))
LISTS = frozenset(("Compose", "Sequential"))
TO_UNIT = frozenset(("ToTensor", "ConvertImageDtype", "ToFloat"))  # to floats in [0, 1]
TO_TENSOR = frozenset(("PILToTensor", "ToImage", "ToImageTensor", "ToTensorV2", "ToTensor"))  # ToTensorV2: values stay
# Position of `transform` among the arguments of torchvision's image data sets
DATASETS = {
    "ImageFolder": 1, "DatasetFolder": 3, "CIFAR10": 2, "CIFAR100": 2, "MNIST": 2, "FashionMNIST": 2, "KMNIST": 2,
    "SVHN": 2,
    "STL10": 3, "Flowers102": 2, "OxfordIIITPet": 3, "Food101": 2, "DTD": 3, "StanfordCars": 2, "Caltech101": 2,
    "Caltech256": 1,
    "GTSRB": 2, "EuroSAT": 1, "FGVCAircraft": 3, "Country211": 2, "ImageNet": None, "CelebA": 3, "Places365": 3,
    "PCAM": 2,
    "FER2013": 2, "INaturalist": 3, "RenderedSST2": 2, "SUN397": 1, "LFWPeople": 3, "USPS": 2, "FakeData": 3,
    "EMNIST": 3,
}  # fmt: skip
# Readers whose result are the pixels of a file, and calls that hand them on unchanged in value
READERS = frozenset((
    "cv2.imread", "PIL.Image.open", "skimage.io.imread", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread",
    "matplotlib.pyplot.imread", "matplotlib.image.imread", "cv2.imdecode", "torchvision.datasets.folder.default_loader",
))  # fmt: skip
CARRIERS = frozenset((
    "numpy.array", "numpy.asarray", "numpy.ascontiguousarray", "numpy.transpose", "numpy.moveaxis", "numpy.expand_dims",
    "numpy.stack", "numpy.float32", "numpy.uint8", "numpy.rollaxis", "numpy.swapaxes", "cv2.cvtColor", "cv2.resize",
    "cv2.flip",
    "cv2.rotate", "cv2.copyMakeBorder", "cv2.warpAffine", "cv2.warpPerspective", "cv2.GaussianBlur", "numpy.pad",
    "numpy.flip", "numpy.fliplr", "numpy.flipud", "numpy.rot90", "numpy.squeeze", "numpy.repeat", "numpy.concatenate",
    "PIL.Image.fromarray", "PIL.ImageOps.exif_transpose", "PIL.ImageOps.expand", "PIL.ImageOps.fit", "PIL.ImageOps.pad",
    "PIL.ImageOps.contain", "PIL.ImageOps.mirror", "PIL.ImageOps.flip", "PIL.ImageOps.grayscale",
    "torch.autograd.Variable", *_functional(
        "resize", "pad", "crop", "center_crop", "resized_crop", "hflip", "vflip", "rotate", "affine", "perspective",
        "adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_hue", "adjust_gamma", "adjust_sharpness",
        "to_grayscale", "rgb_to_grayscale", "gaussian_blur", "equalize", "autocontrast", "posterize", "solarize", "invert",
        "pil_to_tensor", "to_image",
    ),
))  # fmt: skip
TO_UNIT_FUNCTIONS = frozenset(_functional("to_tensor"))
# Of scikit-image: bytes come back as floats in [0, 1], unless `preserve_range` is asked for
TO_UNIT_ARRAYS = frozenset((
    "skimage.transform.resize", "skimage.transform.rescale", "skimage.transform.rotate", "skimage.transform.warp",
    "skimage.util.img_as_float", "skimage.util.img_as_float32", "skimage.img_as_float", "skimage.img_as_float32",
))  # fmt: skip
# By which imgaug's augmenters are called: each keeps the range of the pixels
AUGMENTS = frozenset(("augment_image", "augment_images"))
# Arrays that hold nothing of their own: what is pasted into them is the picture
CANVASES = frozenset((
    "numpy.zeros", "numpy.ones", "numpy.empty", "numpy.full", "numpy.zeros_like", "numpy.ones_like", "numpy.empty_like",
    "numpy.full_like", "PIL.Image.new",
))  # fmt: skip
# Of torchvision: they give the pixels as a tensor
TENSOR_READERS = frozenset(
    f"torchvision.io.{module}{name}"
    for module in ("", "image.")
    for name in ("read_image", "decode_image", "decode_jpeg", "decode_png", "decode_webp")
)
METHODS = frozenset((
    "convert", "resize", "crop", "rotate", "transpose", "copy", "astype", "reshape", "thumbnail", "squeeze",
))  # fmt: skip
TENSOR_OPS = frozenset((
    "to", "cuda", "cpu", "float", "half", "double", "bfloat16", "view", "reshape", "permute", "transpose",
    "contiguous", "unsqueeze",
    "squeeze", "item", "index", "stack", "cat", "detach", "clone", "repeat", "expand", "flip", "tensor", "from_numpy",
    "as_tensor",
    "interpolate", "type", "copy", "swapaxes", "movedim", "pin_memory", "requires_grad_", "astype", "resize", "input",
    "FloatTensor", "Tensor", "DoubleTensor", "HalfTensor", "ByteTensor",
    "type_as", "flatten", "narrow", "convert", "chunk", "concat", "unbind", "rot90",
))  # fmt: skip
# Attributes under which a network's first layer goes: replaced, the weights no longer see three normalised channels
FIRST_LAYERS = frozenset(("conv1", "conv_stem", "conv_proj", "_conv_stem", "conv0", "stem", "patch_embed", "0"))
FIRST_STAGES = FIRST_LAYERS | frozenset(
    ("features", "encoder", "layer0", "Conv2d_1a_3x3", "forward_features", "body", "trunk", "backbone")
)
