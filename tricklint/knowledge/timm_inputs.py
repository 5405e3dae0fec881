"""What timm's weights with a tag (`vit_tiny_patch16_224.augreg_in21k`) expect of images: by the letters that the name of
the network begins with, and for networks whose weights differ in this by the tag too.

Source: the `default_cfgs` of timm 1.0.31, read November 2026. `imagenet`: ImageNet's mean and std; `half`: 0.5 and 0.5;
`clip`: CLIP's; `none`: values in [0, 1] as they are. A network or a tag that is not listed is not known.
"""

from __future__ import annotations

import re

_ALIKE = {
    "imagenet": (
        "bat beitv botnet caformer cait coat convformer convit convmixer convnextv cpubone crossvit csatv "
        "cspdarknet cspnext cspresnet cspresnext darknet darknetaa davit deit densenet densenetblur dla dm eca "
        "ecaresnet ecaresnetlight ecaresnext edgenext efficientformer efficientformerv efficientnetv efficientvim "
        "efficientvit fasternet fbnetc fbnetv focalnet gc gcresnet gcresnext gcvit gernet ghostnet ghostnetv "
        "gmixer halo halonet hardcorenas hgnet hgnetv hiera hieradet hrnet iformer lambda lamhalobotnet lcnet "
        "lcnetv levit lowformer mambaout mixnet mnasnet mobileone mvitv nest nextvit nf nfnet pit poolformer "
        "poolformerv pvt rdnet regnetv regnetx regnety repghostnet repvgg repvit res resmlp resnest resnetaa "
        "resnetblur resnetrs resnext rexnet rexnetr sam samvit sebotnet sedarknet sehalonet selecsls semnasnet "
        "senet sequencer seresnet seresnetaa seresnext seresnextaa shvit skresnet skresnext spnasnet starnet "
        "swiftformer swin swinv tiny tinynet twins vgg visformer volo vovnet wide xcit"
    ),
    "half": (
        "coatnext deepseek flexivit gmlp haloregnetz maxxvit maxxvitv nasnetalarge pnasnet qwen resnetv tnt "
        "xception"
    ),
    "clip": (
        "aimv vitamin"
    ),
    "none": (
        "gemma mobilevit mobilevitv tresnet"
    ),
}
_BY_TAG = {
    "beit": {
        "imagenet": (
            "in22k_ft_in1k indomain_in22k_ft_in1k indomain_pt pt untrained"
        ),
        "half": (
            "in22k_ft_in22k in22k_ft_in22k_in1k"
        ),
    },
    "coatnet": {
        "half": (
            "sw_in12k sw_in12k_ft_in1k untrained"
        ),
    },
    "convnext": {
        "imagenet": (
            "a2_in1k a2h_in1k d1_in1k d1h_in1k d2_in1k dinov3_lvd1689m eupe_lvd1689m fb_in1k fb_in22k "
            "fb_in22k_ft_in1k fb_in22k_ft_in1k_384 in12k in12k_ft_in1k in12k_ft_in1k_384 r384_ad_in12k r384_in12k "
            "r384_in12k_ft_in1k untrained"
        ),
        "clip": (
            "clip_laion2b clip_laion2b_augreg clip_laion2b_augreg_ft_in12k clip_laion2b_augreg_ft_in12k_384 "
            "clip_laion2b_augreg_ft_in12k_in1k clip_laion2b_augreg_ft_in12k_in1k_384 clip_laion2b_augreg_ft_in1k "
            "clip_laion2b_augreg_ft_in1k_384 clip_laion2b_ft_320 clip_laion2b_ft_soup_320 clip_laion2b_rewind "
            "clip_laion2b_soup clip_laion2b_soup_ft_in12k clip_laion2b_soup_ft_in12k_320 "
            "clip_laion2b_soup_ft_in12k_384 clip_laion2b_soup_ft_in12k_in1k_320 "
            "clip_laion2b_soup_ft_in12k_in1k_384 clip_laion2b_soup_ft_in1k clip_laiona clip_laiona_320 "
            "clip_laiona_augreg_320 clip_laiona_augreg_ft_in1k_384"
        ),
        "half": (
            "ra4_e3600_r224_in1k"
        ),
    },
    "cs": {
        "imagenet": (
            "c2_in1k c2ns_in1k untrained"
        ),
        "half": (
            "ra4_e3600_r256_in1k"
        ),
    },
    "dpn": {
        "imagenet": (
            "ra_in1k untrained"
        ),
    },
    "efficientnet": {
        "imagenet": (
            "ft_in1k ra2_in1k ra_in1k sw_in12k sw_in12k_ft_in1k sw_r448_e450_in1k untrained"
        ),
        "half": (
            "ra4_e3600_r224_in1k ra4_e3600_r240_in1k"
        ),
    },
    "ese": {
        "half": (
            "ra4_e3600_r256_in1k"
        ),
        "imagenet": (
            "ra_in1k untrained"
        ),
    },
    "eva": {
        "clip": (
            "clip_ft_in1k in22k_ft_in1k in22k_ft_in22k_in1k laion2b laion2b_plus laion400m merged2b mim_in22k "
            "mim_in22k_ft_in1k mim_in22k_ft_in22k mim_in22k_ft_in22k_in1k mim_m38m mim_m38m_ft_in1k "
            "mim_m38m_ft_in22k mim_m38m_ft_in22k_in1k pretrain"
        ),
        "imagenet": (
            "m30m_ft_in22k_in1k"
        ),
    },
    "fastvit": {
        "imagenet": (
            "apple_dist_in1k apple_in1k"
        ),
        "none": (
            "apple_mclip"
        ),
    },
    "inception": {
        "imagenet": (
            "gluon_in1k sail_in1k sail_in1k_384"
        ),
        "half": (
            "tf_adv_in1k tf_ens_adv_in1k tf_in1k tv_in1k"
        ),
    },
    "legacy": {
        "imagenet": (
            "in1k"
        ),
        "half": (
            "tf_in1k"
        ),
    },
    "maxvit": {
        "half": (
            "in21k in21k_ft_in1k sw_in12k sw_in12k_ft_in1k sw_in1k untrained"
        ),
    },
    "mixer": {
        "half": (
            "goog_in21k goog_in21k_ft_in1k untrained"
        ),
        "none": (
            "miil_in21k miil_in21k_ft_in1k"
        ),
    },
    "mobilenet": {
        "half": (
            "ra4_e3600_r224_in1k"
        ),
        "imagenet": (
            "untrained"
        ),
    },
    "mobilenetv": {
        "imagenet": (
            "e1200_r224_in1k e180_ad_r384_in12k e180_r384_in12k e200_r256_in12k e200_r256_in12k_ft_in1k "
            "e230_r384_in12k e230_r384_in12k_ft_in1k e230_r448_in12k_ft_in1k e2400_r224_in1k e250_r384_in12k "
            "e250_r384_in12k_ft_in1k e500_r224_in1k e500_r256_in1k e600_r384_in1k ix_e550_r256_in1k "
            "ix_e550_r384_in1k ix_e600_r384_in1k lamb_in1k ra_in1k rmsp_in1k"
        ),
        "half": (
            "e3000_r224_in1k e3600_r256_in1k ra4_e3600_r224_in1k ra4_e3600_r256_in1k"
        ),
        "none": (
            "gemma3n miil_in21k miil_in21k_ft_in1k"
        ),
    },
    "naflexvit": {
        "clip": (
            "c_radio"
        ),
        "half": (
            "e300_s576_in1k untrained v2_webli"
        ),
    },
    "regnetz": {
        "half": (
            "ch_in1k"
        ),
    },
    "resnet": {
        "imagenet": (
            "a1_in1k a1h_in1k a2_in1k a3_in1k am_in1k b1k_in1k b2k_in1k bamboo bt_in1k c1_in1k c2_in1k c3_in1k "
            "d_in1k fb_ssl_yfcc100m_ft_in1k fb_swsl_ig1b_ft_in1k gluon_in1k ra2_in1k ra_in1k ram_in1k tv2_in1k "
            "tv_in1k untrained"
        ),
        "clip": (
            "cc12m openai yfcc15m"
        ),
        "half": (
            "ra4_e3600_r224_in1k"
        ),
    },
    "test": {
        "half": (
            "untrained"
        ),
    },
    "tf": {
        "imagenet": (
            "aa_in1k ns_jft_in1k ns_jft_in1k_475 ra_in1k"
        ),
        "half": (
            "ap_in1k in21k in21k_ft_in1k"
        ),
    },
    "vit": {
        "none": (
            "apple_mclip apple_mclip_lt in21k in21k_ft_in1k"
        ),
        "half": (
            "augreg2_in21k_ft_in1k augreg_in1k augreg_in21k augreg_in21k_ft_in1k fb_tiling orig_in21k "
            "orig_in21k_ft_in1k pali2_10b_docci pali2_10b_pt pali2_3b_docci pali2_3b_pt pali_mix pali_ocrvqa "
            "pali_pt pali_refcoco_seg sam_in1k sbb2_e200_in12k sbb2_e200_in12k_ft_in1k sbb_e200_in12k "
            "sbb_e200_in12k_ft_in1k sbb_e250_in12k sbb_e250_in12k_ft_in1k sbb_in12k sbb_in12k_ft_in1k "
            "sbb_nadamuon_in1k sw_in12k sw_in12k_ft_in1k sw_in1k v2_webli webli_ft_in1k webli_i18n"
        ),
        "clip": (
            "bamboo c_radio datacompxl dfn2b dfn2b_s39b dfn5b laion400m_e32 metaclip2_worldwide metaclip_2pt5b "
            "metaclip_400m metaclip_altogether openai openai_ft_in12k openai_ft_in12k_in1k openai_ft_in1k "
            "tinyclip_laion400m tinyclip_yfcc15m"
        ),
        "imagenet": (
            "dino eupe_lvd1689m in1k_ijepa in22k_ijepa lvd142m lvd1689m mae naver_in1k ogvl_2pt5 ogvl_dist "
            "robbyant"
        ),
    },
}
_NETWORKS = {network: what for what, networks in _ALIKE.items() for network in networks.split()}
_TAGS = {(network, tag): what for network, by in _BY_TAG.items() for what, tags in by.items() for tag in tags.split()}
_LETTERS = re.compile(r"[a-z]+")


def expected(name: str) -> str:
    """What `network.tag` expects, by the words above; "" where that is not known."""
    network, _, tag = name.partition(".")
    letters = _LETTERS.match(network)
    if letters is None:
        return ""
    return _NETWORKS.get(letters[0]) or _TAGS.get((letters[0], tag), "")


__all__ = ["expected"]
