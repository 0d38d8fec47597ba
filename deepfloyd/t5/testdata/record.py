"""Saves tiny T5 encoders of other configurations and what transformers computes with them.

    python record.py FOLDER      (PyTorch 2.13.0, transformers 5.23)

FOLDER is this one. Of each encoder there is a folder and NAME.safetensors with ids, mask and embeddings; the folder
"gated-silu" has weights in several files, "relu" is a whole model with a decoder whose weights are in half precision.
buckets.safetensors has the bucket of each relative position, by number of buckets and largest distance.
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

folder = pathlib.Path(sys.argv[1])
torch.manual_seed(6)
SMALL = dict(vocab_size=40, d_model=12, d_ff=20, num_layers=2, num_decoder_layers=1)
ENCODERS = {
    "gated-silu": (T5EncoderModel, dict(d_kv=5, num_heads=3, relative_attention_num_buckets=8, relative_attention_max_distance=20, layer_norm_epsilon=1e-3), {}),
    "relu": (T5ForConditionalGeneration, dict(d_kv=4, num_heads=2), {"variant": "fp16"}),
    "gelu": (T5EncoderModel, dict(d_kv=2, num_heads=1, num_layers=1, relative_attention_num_buckets=5), {"dtype": torch.bfloat16}),
}
for name, (kind, config, options) in ENCODERS.items():
    model = kind(T5Config(feed_forward_proj=name, **{**SMALL, **config}))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.4)
    variant = options.get("variant")
    model = model.to(torch.float16 if variant else options.get("dtype", torch.float32))
    model.save_pretrained(folder / name, variant=variant, max_shard_size="2KB" if name == "gated-silu" else "1GB")
    (folder / name / "generation_config.json").unlink(missing_ok=True)
    model = model.float().eval()
    ids = torch.randint(2, 40, (3, 40))
    mask = torch.ones_like(ids)
    mask[1, 17:] = 0
    mask[2, 1:] = 0
    with torch.no_grad():
        out = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    save_file({"ids": ids.int(), "mask": mask.int(), "embeddings": out.contiguous()}, folder / f"{name}.safetensors")
buckets = {}
for n, distance in [(32, 128), (8, 20), (5, 128), (4, 3), (64, 1000), (31, 77), (6, 100)]:
    relative = torch.arange(-300, 301)
    buckets[f"{n}.{distance}"] = T5Attention._relative_position_bucket(relative, True, n, distance).int()
save_file(buckets, folder / "buckets.safetensors")
