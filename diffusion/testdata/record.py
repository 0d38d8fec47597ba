"""Records reference.json: what PyTorch and diffusers compute on the CPU, beyond the golden files.

usage: python record.py > reference.json      (recorded with PyTorch 2.13.0 and diffusers 0.42.1)
"""
import json, torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

def draws(seed):
    """One generator, calls of all kinds in a row; the order is the test's."""
    g = torch.Generator().manual_seed(seed)
    call = lambda name, x: {"call": name, "values": x.tolist()}
    return [call("randn", torch.randn(3, generator=g)), call("rand", torch.rand(5, generator=g)), call("randn", torch.randn(2, generator=g)),
            call("randn", torch.randn(40, generator=g)), call("randperm", torch.randperm(700, generator=g)), call("randperm", torch.randperm(1, generator=g)),
            *({"call": "randint", "high": h, "values": torch.randint(0, h, (9,), generator=g).tolist()} for h in (1, 300, (1 << 28) - 1, 1 << 28, 1 << 32, 1 << 62)),
            call("randn", torch.randn(1, generator=g)), call("randn", torch.randn(700, generator=g)[-32:])]

def timesteps(T, spacing, n):
    s = DDPMScheduler(T, timestep_spacing=spacing); s.set_timesteps(n)
    return {"T": T, "spacing": spacing, "timesteps": s.timesteps.tolist()}

A = 0.8
def noise_estimate(x, t, ab):
    """The exact estimate for pixels that are -A or A with equal chance."""
    a, s = ab[t].sqrt(), (1 - ab[t]).sqrt()
    return (x - a * A * torch.tanh(A * a * x / s**2)) / s

def walk(name, scheduler, n, **step):
    scheduler.set_timesteps(n); g = torch.Generator().manual_seed(n); x = torch.randn(2, 1, 4, 4, generator=g); xs = []
    if "eta" in step or isinstance(scheduler, DDPMScheduler): step["generator"] = g
    for t in scheduler.timesteps:
        x = scheduler.step(noise_estimate(x, t, scheduler.alphas_cumprod), t, x, **step).prev_sample; xs.append(x.flatten().tolist())
    return {"name": name, "seed": n, "timesteps": scheduler.timesteps.tolist(), "x": xs}

T, beta = 300, dict(beta_start=1e-4, beta_end=0.02)
print(json.dumps({
    "draws": {seed: draws(seed) for seed in (0, 5, 2**32 + 5)},
    "timesteps": [timesteps(T, s, n) for T, s, n in ((1000, "trailing", 48), (1000, "trailing", 27), (300, "trailing", 9), (1000, "linspace", 27), (1000, "linspace", 33), (300, "linspace", 1), (40, "leading", 40), (1000, "leading", 27))],
    "walks": [walk("ddpm fixed_large", DDPMScheduler(T, **beta, variance_type="fixed_large", clip_sample=False), 12),
              walk("ddpm fixed_small_log", DDPMScheduler(T, **beta, variance_type="fixed_small_log", clip_sample_range=0.7), 13),
              walk("ddpm trailing", DDPMScheduler(T, **beta, variance_type="fixed_small", clip_sample=False, timestep_spacing="trailing"), 9),
              walk("ddim", DDIMScheduler(T, **beta, clip_sample=False), 10),
              walk("ddim eta", DDIMScheduler(T, **beta, thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=1.2), 15, eta=0.6),
              walk("dpmsolver", DPMSolverMultistepScheduler(T, **beta, timestep_spacing="trailing"), 10),
              walk("dpmsolver", DPMSolverMultistepScheduler(T, **beta, timestep_spacing="trailing"), 25)]}))
