"""Records small UNets of other shapes than the golden ones: diffusers' folders with reference.safetensors beside the weights.

usage: python record.py      (recorded with PyTorch 2.13.0 and diffusers 0.42.1)
"""
import os, torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

RESNET, CROSS = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"), ("SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D")
def kinds(down, up):
    return dict(down_block_types=[k[0] for k in down], up_block_types=[k[1] for k in up], mid_block_type="UNetMidBlock2DSimpleCrossAttn")

UNETS = {
    # Settings for each block (head sizes of the up blocks are read from the front), no text projection, embedding or norm.
    "lists": (torch.float16, (8, 12), None, dict(
        kinds([RESNET, CROSS, CROSS], [CROSS, CROSS, RESNET]), in_channels=3, out_channels=6, block_out_channels=[8, 16, 24], layers_per_block=[1, 2, 1],
        attention_head_dim=[8, 4, 12], only_cross_attention=[False, True, False], cross_attention_dim=10, norm_num_groups=4, norm_eps=1e-3, act_fn="silu",
        flip_sin_to_cos=False, freq_shift=1, center_input_sample=True, conv_in_kernel=5, conv_out_kernel=1, time_embedding_dim=20, timestep_post_act="silu", sample_size=(8, 12))),
    # Super-resolution: noise level, pooled text, only the text attended to, layer norm of the text.
    "classes": (torch.bfloat16, (8, 8), 123, dict(
        kinds([RESNET, CROSS], [CROSS, RESNET]), in_channels=6, out_channels=6, block_out_channels=[8, 16], layers_per_block=2, attention_head_dim=4,
        only_cross_attention=True, mid_block_only_cross_attention=False, cross_attention_dim=16, cross_attention_norm="layer_norm", encoder_hid_dim=12,
        addition_embed_type="text", addition_embed_type_num_heads=3, class_embed_type="timestep", norm_num_groups=4, act_fn="mish", time_embedding_act_fn="mish",
        resnet_time_scale_shift="scale_shift", resnet_skip_time_act=True, resnet_out_scale_factor=1.5, mid_block_scale_factor=1.25)),
    # Attention at all sizes, an odd number of channels, no learned variance.
    "odd": (torch.float32, (4, 4), None, dict(
        kinds([CROSS, CROSS], [CROSS, CROSS]), in_channels=3, out_channels=3, block_out_channels=[9, 18], layers_per_block=1, attention_head_dim=3,
        only_cross_attention=True, cross_attention_dim=32, cross_attention_norm="group_norm", encoder_hid_dim=8, encoder_hid_dim_type="text_proj",
        addition_embed_type="text", addition_embed_type_num_heads=2, norm_num_groups=3, act_fn="relu", resnet_time_scale_shift="scale_shift")),
    # Super-resolution by convolutions alone: no mid block, and nothing that reads the text.
    "textless": (torch.float32, (4, 8), 123, dict(
        kinds([RESNET, RESNET], [RESNET, RESNET]) | dict(mid_block_type=None), in_channels=6, out_channels=6, block_out_channels=[4, 8], layers_per_block=1,
        attention_head_dim=4, cross_attention_dim=8, class_embed_type="timestep", norm_num_groups=2, act_fn="silu", resnet_time_scale_shift="scale_shift")),
}

for seed, (name, (dtype, (h, w), level, config)) in enumerate(UNETS.items()):
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(**config)
    with torch.no_grad():
        for key, p in unet.named_parameters():
            if "norm" in key: p.add_(0.3 * torch.randn(p.shape))
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    unet.to(dtype).save_pretrained(folder)
    unet = UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    dim = config.get("encoder_hid_dim") or config["cross_attention_dim"]
    out = {"unet.x": torch.randn(2, config["in_channels"], h, w), "text": torch.randn(2, 5, dim)}
    for t in (0, 321, 999):
        with torch.no_grad():
            y = unet(out["unet.x"], t, out["text"], class_labels=None if level is None else torch.tensor([level] * 2)).sample
        out[f"unet.t{t}" + ("" if level is None else f".noise{level}")] = y
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, "reference.safetensors"))
