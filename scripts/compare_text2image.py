#!/usr/bin/env python3
"""Draws the same pictures with diffusers' IFPipeline and with unnoise, from one folder of a first stage, and compares them.

usage: PYTHON compare_text2image.py [--steps 25] [--guidance 3] [--seed 7] [--program bin/unnoise] FOLDER PROMPT...
       with a second stage behind it, also: [--second FOLDER] [--second-steps 10] [--noise-level 100]

PYTHON is an interpreter that has torch, diffusers, transformers and safetensors. Both compute in float32 with the folders' schedulers.
Prints a line a prompt: the largest and the mean difference of values from 0 to 1.
"""
import argparse, json, os, subprocess, tempfile
import torch
from diffusers import IFPipeline, IFSuperResolutionPipeline
from safetensors.torch import load_file

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=25)
parser.add_argument("--guidance", type=float, default=3)
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--program", default="bin/unnoise")
parser.add_argument("--second")
parser.add_argument("--second-steps", type=int, default=10)
parser.add_argument("--noise-level", type=int, default=100)
parser.add_argument("folder")
parser.add_argument("prompts", nargs="+")
a = parser.parse_args()

pipe = IFPipeline.from_pretrained(a.folder, torch_dtype=torch.float32)
pipe.set_progress_bar_config(disable=True)
if a.second:
    second = IFSuperResolutionPipeline.from_pretrained(a.second, torch_dtype=torch.float32)
    second.set_progress_bar_config(disable=True)
for prompt in a.prompts:
    generator = torch.Generator().manual_seed(a.seed)
    theirs = pipe(prompt, num_inference_steps=a.steps, guidance_scale=a.guidance, output_type="pt", generator=generator,
                  clean_caption=False).images
    more = []
    if a.second:
        texts, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False, clean_caption=False)
        theirs = second(image=theirs, prompt_embeds=texts, num_inference_steps=a.second_steps, guidance_scale=1, noise_level=a.noise_level,
                        output_type="pt", generator=generator).images
        more = ["--upscale", a.second, "--upscale-steps", str(a.second_steps), "--noise-level", str(a.noise_level)]
    theirs = theirs[0].float()
    if theirs.min() < 0:  # the pipeline leaves tensors as the network has them
        theirs = theirs / 2 + 0.5
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "ours.safetensors")
        subprocess.run([a.program, "generate", "--model", a.folder, "--prompt", prompt, "--steps", str(a.steps), "--guidance", str(a.guidance),
                        "--seed", str(a.seed), "--dtype", "f32", "--no-cache", "--out", out] + more, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ours = load_file(out)["images"][0].float()
    if ours.min() < 0:
        ours = ours / 2 + 0.5
    difference = (ours - theirs).abs()
    print(f"{prompt!r}: largest difference {difference.max():.2e}, mean {difference.mean():.2e}; values from {theirs.min():.3f} to {theirs.max():.3f}")
