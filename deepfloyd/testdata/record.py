"""Records schedulers.json: what diffusers' schedulers do by their scheduler_config.json, and upscaled images.

usage: python record.py > schedulers.json      (recorded with PyTorch 2.13.0 and diffusers 0.42.1)
"""
import json, pathlib, tempfile, torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

A = 0.8
def estimate(x, t, ab):
    """The exact noise estimate for pixels that are -A or A with equal chance, and some variance."""
    a, s = ab[t].sqrt(), (1 - ab[t]).sqrt()
    return (x - a * A * torch.tanh(A * a * x / s**2)) / s, torch.sin(3 * x)

def case(scheduler, *steps, become=None, eta=None):
    with tempfile.TemporaryDirectory() as d:
        scheduler.save_pretrained(d)
        config = pathlib.Path(d, "scheduler_config.json").read_text()
    if become: scheduler = become.from_config(scheduler.config)
    timesteps = {}
    for n in steps:
        scheduler.set_timesteps(n)
        timesteps[n] = scheduler.timesteps.tolist()
    n = steps[0]
    scheduler.set_timesteps(n)
    g = torch.Generator().manual_seed(n); x = torch.randn(1, 3, 3, 3, generator=g); xs = []
    for t in scheduler.timesteps:
        noise, variance = estimate(x, t, scheduler.alphas_cumprod)
        if scheduler.config.get("variance_type") == "learned_range" and not isinstance(scheduler, DDIMScheduler): noise = torch.cat([noise, variance], 1)
        more = {"generator": g} if isinstance(scheduler, DDPMScheduler) or eta else {}
        if eta: more["eta"] = eta
        x = scheduler.step(noise, t, x, **more).prev_sample; xs.append(x.flatten().tolist())
    return {"config": config, "as": become and become.__name__, "eta": eta, "betas": {t: scheduler.betas[t].item() for t in range(0, len(scheduler.betas), 37)},
            "timesteps": timesteps, "steps": n, "x": xs}

def upscale(h, w, H, W):
    x = torch.rand(1, 2, h, w, generator=torch.Generator().manual_seed(h))
    y = torch.nn.functional.interpolate(x, (H, W), mode="bilinear", align_corners=True)
    return {"from": [h, w], "to": [H, W], "x": x.flatten().tolist(), "y": y.flatten().tolist()}

cosine = dict(beta_schedule="squaredcos_cap_v2")
stage = DDPMScheduler(**cosine, variance_type="learned_range", thresholding=True, dynamic_thresholding_ratio=0.95, sample_max_value=1.5)
spaced = DDPMScheduler.from_config(stage.config, timestep_spacing="leading")
print(json.dumps({"schedulers": [
    case(stage, 8, 27, 100),
    case(DDPMScheduler(**cosine, variance_type="fixed_small_log", steps_offset=1, clip_sample_range=0.7), 7, 50),
    case(DDPMScheduler(400, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="linspace", variance_type="fixed_large"), 9, 33),
    case(DDPMScheduler(5, trained_betas=[0.01, 0.1, 0.2, 0.3, 0.4], clip_sample=False), 5, 2),
    case(DDPMScheduler(300, timestep_spacing="trailing", clip_sample=False), 6, 17),
    case(DDIMScheduler(**cosine, steps_offset=3), 8, 50),
    case(DDIMScheduler.from_config(stage.config), 10, 27),
    case(DDIMScheduler(timestep_spacing="trailing"), 7, 27),
    case(DDIMScheduler(**cosine, timestep_spacing="linspace", clip_sample=False), 9, 27),
    case(DPMSolverMultistepScheduler(**cosine, lambda_min_clipped=-5.1, thresholding=True, sample_max_value=1.5, variance_type="learned_range"), 10, 25),
    case(DPMSolverMultistepScheduler(beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1), 12, 20),
    case(DPMSolverMultistepScheduler(timestep_spacing="trailing"), 11, 20),
    case(DPMSolverMultistepScheduler.from_config(stage.config, timestep_spacing="leading"), 9, 27),
    case(spaced, 9, 27, become=DPMSolverMultistepScheduler),
    case(spaced, 9, 27, become=DDIMScheduler),
    case(DDIMScheduler(**cosine, clip_sample=False), 9, 27, become=DDPMScheduler),
    case(DDPMScheduler(300, variance_type="fixed_small", timestep_spacing="linspace", clip_sample=False), 8, 50),
    case(DDPMScheduler(300, variance_type="fixed_large", timestep_spacing="trailing", clip_sample=False), 8, 13),
    case(DDPMScheduler(**cosine, variance_type="fixed_small_log", clip_sample=False), 6, 20),
    case(DDIMScheduler(300, timestep_spacing="trailing", clip_sample=False), 8, 60, eta=0.6),
    case(DDIMScheduler(300, timestep_spacing="linspace", clip_sample=False), 6, 60, eta=1),
    case(DPMSolverMultistepScheduler(300, timestep_spacing="trailing"), 1, 3),
    case(DPMSolverMultistepScheduler(300, timestep_spacing="linspace"), 2, 3),
], "upscaled": [upscale(4, 4, 8, 8), upscale(3, 5, 7, 6), upscale(6, 2, 1, 5), upscale(1, 1, 2, 3)]}))
