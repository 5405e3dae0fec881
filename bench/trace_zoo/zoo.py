"""The list: (library, name, target, args, kwargs, input). Torch-free; `smaller.py` and `plain.py` hold the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tricklint.trace.targets import Target

HERE = Path(__file__).parent

TORCHVISION = (
    "alexnet vgg11 vgg16_bn resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121 squeezenet1_0 googlenet"
    " inception_v3 shufflenet_v2_x1_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5 efficientnet_b0"
    " efficientnet_v2_s regnet_y_400mf regnet_x_800mf convnext_tiny vit_b_16 swin_t swin_v2_t maxvit_t"
    " segmentation.fcn_resnet50 segmentation.deeplabv3_mobilenet_v3_large segmentation.lraspp_mobilenet_v3_large"
    " video.r3d_18 video.mc3_18 video.r2plus1d_18 video.s3d video.swin3d_t detection.ssdlite320_mobilenet_v3_large"
    " detection.retinanet_resnet50_fpn"
)
TIMM = (
    "resnet26 resnet50d seresnet50 resnetv2_50 efficientnet_b1 efficientnet_lite0 mobilenetv3_large_100"
    " mobilenetv4_conv_small convnext_atto convnextv2_nano vit_tiny_patch16_224 vit_small_patch16_dinov3"
    " deit_tiny_patch16_224 deit3_small_patch16_224 beit_base_patch16_224 beitv2_base_patch16_224"
    " eva02_tiny_patch14_224"
    " swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 cait_xxs24_224 crossvit_tiny_240 mixer_s16_224 gmlp_s16_224"
    " resmlp_12_224 poolformer_s12 metaformer_dummy edgenext_xx_small fastvit_t8 repvgg_a0 rexnet_100 regnety_002"
    " res2net50_26w_4s densenet121 dla34 dpn68 hrnet_w18_small ghostnet_100 inception_v4 xception41 nfnet_l0 coat_tiny"
    " levit_128s mobilevit_s pit_ti_224 tnt_s_legacy_patch16_224 volo_d1_224 xcit_nano_12_p16_224 hardcorenas_a"
    " tinynet_a nest_tiny maxxvit_rmlp_nano_rw_256 focalnet_tiny_srf davit_tiny efficientformer_l1"
).replace(" metaformer_dummy", " caformer_s18")
SMP = (
    ("Unet", "resnet18"), ("Unet", "mobilenet_v2"), ("UnetPlusPlus", "resnet18"), ("MAnet", "resnet18"),
    ("Linknet", "resnet18"), ("FPN", "resnet34"), ("PSPNet", "resnet18"), ("PAN", "resnet18"),
    ("DeepLabV3", "resnet18"), ("DeepLabV3Plus", "resnet18"), ("UPerNet", "resnet18"), ("Segformer", "mit_b0"),
    ("Unet", "efficientnet-b0"), ("FPN", "densenet121"),
)  # fmt: skip
MONAI: tuple[tuple[str, dict[str, Any], Any], ...] = (
    ("UNet", {"spatial_dims": 3, "in_channels": 1, "out_channels": 2,
              "channels": [8, 16, 32], "strides": [2, 2]}, None),
    ("BasicUNet", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}, None),
    ("AttentionUnet", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2,
                       "channels": [8, 16, 32], "strides": [2, 2]}, None),
    ("SegResNet", {"spatial_dims": 3, "init_filters": 8, "in_channels": 1, "out_channels": 2}, None),
    ("VNet", {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}, None),
    ("DynUNet", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3, 3], "strides": [1, 2, 2],
                 "upsample_kernel_size": [2, 2]}, None),
    ("UNETR", {"in_channels": 1, "out_channels": 2, "img_size": [32, 32, 32], "hidden_size": 96, "mlp_dim": 192,
               "num_heads": 4}, [[2, 1, 32, 32, 32]]),
    ("SwinUNETR", {"in_channels": 1, "out_channels": 2, "feature_size": 12}, [[2, 1, 64, 64, 64]]),
    ("DenseNet121", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}, None),
    ("EfficientNetBN", {"model_name": "efficientnet-b0", "spatial_dims": 2, "in_channels": 1, "num_classes": 2}, None),
    ("HighResNet", {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}, None),
    ("Classifier", {"in_shape": [1, 32, 32], "classes": 3, "channels": [8, 16], "strides": [2, 2]}, [[2, 1, 32, 32]]),
    ("AutoEncoder", {"spatial_dims": 2, "in_channels": 1, "out_channels": 1,
                     "channels": [8, 16], "strides": [2, 2]}, None),
    ("VarAutoEncoder", {"spatial_dims": 2, "in_shape": [1, 32, 32], "out_channels": 1, "latent_size": 4,
                        "channels": [8, 16], "strides": [2, 2]}, [[2, 1, 32, 32]]),
    ("ViT", {"in_channels": 1, "img_size": [64, 64], "patch_size": [16, 16], "spatial_dims": 2, "classification": True,
             "hidden_size": 96, "mlp_dim": 192, "num_heads": 4, "num_layers": 3}, [[2, 1, 64, 64]]),
    ("FlexibleUNet", {"in_channels": 3, "out_channels": 2, "backbone": "efficientnet-b0"}, None),
    ("FullyConnectedNet", {"in_channels": 16, "out_channels": 3, "hidden_channels": [32, 32]}, None),
    ("ResNet", {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 32, 64], "n_input_channels": 1,
                "num_classes": 3}, None),
)  # fmt: skip
TRANSFORMERS = (
    "BertForSequenceClassification BertModel BertForMaskedLM BertForQuestionAnswering"
    " RobertaForSequenceClassification DistilBertForSequenceClassification AlbertForSequenceClassification"
    " ElectraForSequenceClassification DebertaV2ForSequenceClassification MPNetForSequenceClassification"
    " XLMRobertaForTokenClassification CamembertForMaskedLM LongformerForSequenceClassification"
    " FNetForSequenceClassification ModernBertForSequenceClassification ConvBertForSequenceClassification"
    " SqueezeBertForSequenceClassification GPT2LMHeadModel GPTNeoXForCausalLM OPTForCausalLM BloomForCausalLM"
    " LlamaForCausalLM MistralForCausalLM Qwen2ForCausalLM GemmaForCausalLM PhiForCausalLM FalconForCausalLM"
    " MambaForCausalLM T5ForConditionalGeneration BartForSequenceClassification MarianMTModel"
    " ViTForImageClassification DeiTForImageClassification BeitForImageClassification"
    " SwinForImageClassification ConvNextForImageClassification ResNetForImageClassification"
    " Dinov2ForImageClassification MobileViTForImageClassification SegformerForSemanticSegmentation CLIPModel"
    " CLIPVisionModel Wav2Vec2ForSequenceClassification HubertForSequenceClassification"
    " ASTForAudioClassification WhisperForConditionalGeneration VideoMAEForVideoClassification"
    " ViTMAEForPreTraining TimesformerForVideoClassification PatchTSTForPrediction"
)
# What makes a configuration small beyond the usual sizes (see smaller.py)
_ENCODER_DECODER: dict[str, Any] = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128, "decoder_ffn_dim": 128,
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "DistilBertForSequenceClassification": {"n_layers": 2},
    "AlbertForSequenceClassification": {"embedding_size": 32},
    "SqueezeBertForSequenceClassification": {"embedding_size": 64},
    "GPT2LMHeadModel": {"n_layer": 2, "n_embd": 64, "n_head": 4},
    "OPTForCausalLM": {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "FalconForCausalLM": {"head_dim": None},
    "T5ForConditionalGeneration": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
    "BartForSequenceClassification": _ENCODER_DECODER,
    "MarianMTModel": {**_ENCODER_DECODER, "decoder_vocab_size": 1000, "vocab_size": 1000, "pad_token_id": 0},
    "SwinForImageClassification": {"depths": [1, 1, 1, 1]},
    "WhisperForConditionalGeneration": _ENCODER_DECODER,
}
PLAIN = (
    "LeNet TwoLayer DeepMLP TanhMLP PlainVGG CifarResNet UNet2d LSTMClassifier GRUTagger CharCNN Autoencoder VAE"
    " DCGANGenerator DCGANDiscriminator Siamese CosineNet ArcFaceNet TinyGPT MixtureOfExperts TransformerClassifier"
    " MultiTask AttentionPool WideAndDeep SpectralNet PartlyUsed SwiGLUNet Conv1dNet MatrixFactorization DataDependent"
    " NormFreeDeep"
)


def targets() -> list[tuple[str, Target]]:
    """(library, target) of every model."""
    found: list[tuple[str, Target]] = []

    def add(library: str, name: str, factory: str, args: Any = (), kwargs: Any = None, shape: Any = None) -> None:
        found.append((library, Target(name, factory, tuple(args), dict(kwargs or {}), shape)))

    for name in TORCHVISION.split():
        module, _, leaf = name.rpartition(".")
        where = f"torchvision.models{'.' + module if module else ''}"
        kwargs: dict[str, Any] = {"weights": None}
        if module in ("segmentation", "detection"):
            kwargs["weights_backbone"] = None
        add("torchvision", leaf, f"{where}:{leaf}", kwargs=kwargs)
    for name in TIMM.split():
        add("timm", name, "timm:create_model", [name])
    for decoder, encoder in SMP:
        kwargs = {"encoder_name": encoder, "encoder_weights": None}
        add("smp", f"{decoder}/{encoder}", f"segmentation_models_pytorch:{decoder}", kwargs=kwargs)
    for name, kwargs, shape in MONAI:
        add("monai", name, f"monai.networks.nets:{name}", kwargs=kwargs, shape=shape)
    for name in TRANSFORMERS.split():
        add("transformers", name, f"{HERE / 'smaller.py'}:model", [name, CHANGES.get(name, {})])
    for name in PLAIN.split():
        add("plain", name, f"{HERE / 'plain.py'}:{name}")
    return found
