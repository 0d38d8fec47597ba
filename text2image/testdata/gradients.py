"""Records PyTorch's loss and gradients of a text encoder and a UNet trained together, for a text-to-image folder.

usage: gradients.py FOLDER OUT.safetensors
"""
import sys
import torch
from diffusers import UNet2DConditionModel
from transformers import T5EncoderModel
from safetensors.torch import save_file

folder, out = sys.argv[1:]
torch.manual_seed(0)
text = T5EncoderModel.from_pretrained(f"{folder}/text_encoder").float().eval()
unet = UNet2DConditionModel.from_pretrained(f"{folder}/unet").float().eval()
n, side, tokens = 2, unet.config.sample_size, 12
x, target = torch.randn(n, 3, side, side), torch.randn(n, 3, side, side)
t, weight = torch.tensor([17, 803]), torch.tensor([0.5, 1.5])
ids = torch.randint(2, text.config.vocab_size, (n, tokens))
mask = torch.ones_like(ids)
ids[0, 5:], mask[0, 5:], ids[1, 9:], mask[1, 9:] = 0, 0, 0, 0
y = unet(x, t, text(ids, attention_mask=mask).last_hidden_state).sample
each = ((y[:, :3] - target) ** 2).mean((1, 2, 3))
loss = (each * weight).mean()
loss.backward()
all = {"x": x, "target": target, "t": t.float().reshape(n, 1), "weight": weight.reshape(n, 1), "ids": ids.int(), "mask": torch.where(mask == 0, torch.finfo(torch.float32).min, 0.0), "loss": loss.detach().reshape(1)}
for prefix, module in (("unet.", unet), ("text_encoder.", text)):
    for name, p in module.named_parameters():
        g = p.grad.flatten() if p.grad is not None else torch.zeros(p.numel())
        all["gradient." + prefix + name] = g[:: max(1, g.numel() // 32)][:32].clone()
        all["norm." + prefix + name] = g.norm().reshape(1)
save_file(all, out)
