#!/usr/bin/env python3
"""Unnoise and PyTorch side by side on DeepFloyd IF's networks in full size with random weights, in turns.

usage: compare_model.py [--rounds 2] [--runs 3] [--batch 2] [--dtype bf16] [--threads N] [--dir DIR] PYTHON PEER [SIZE ...]

PYTHON is an interpreter that has torch, diffusers and transformers, PEER a script with PyTorch's side of the benchmark
(deepfloyd.py): called as PYTHON PEER unet-M|unet-L|unet-XL|sr-M|t5-xxl --runs N --batch B, it prints a JSON line,
{"best_s": 1.2, "peak_rss_gb": 1.6}. SIZE is one of 'unnoise bench model', M if none is given. Each round runs both, one after
the other. Prints the best over all rounds and the median of the rounds' bests of one evaluation, their ratios, and peak memory.
"""
import argparse, json, os, statistics, subprocess, sys

PEER = {"M": "unet-M", "L": "unet-L", "XL": "unet-XL", "sr-M": "sr-M", "t5-xxl": "t5-xxl"}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("python")
    p.add_argument("peer")
    p.add_argument("size", nargs="*", help=", ".join(PEER))
    for name, default in [("rounds", 2), ("runs", 3), ("batch", 2)]:
        p.add_argument("--" + name, type=int, default=default)
    p.add_argument("--dtype", default="bf16", help="Unnoise's; PyTorch computes in bf16")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--dir", help="where 'unnoise bench model' keeps its folders")
    a = p.parse_args()
    for size in a.size:
        if size not in PEER:
            p.error(f"SIZE: expected {', '.join(PEER)}, found {size!r}")
    program = os.path.join(os.path.dirname(__file__), "..", "bin", "unnoise")
    env = dict(os.environ, OMP_NUM_THREADS=str(a.threads))
    counts = ["--runs", str(a.runs), "--batch", str(a.batch)]

    def run(command):
        """The JSON line a command prints."""
        out = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", env=env)
        if out.returncode:
            sys.exit(f"compare_model.py: {command[0]} ended with status {out.returncode}")
        return json.loads(next(line for line in out.stdout.splitlines() if line.startswith("{")))

    for size in a.size or ["M"]:
        ours, theirs = [], []
        for _ in range(a.rounds):
            ours.append(run([program, "bench", "model", "--size", size, "--dtype", a.dtype, "--threads", str(a.threads), "--json", *counts, *(["--dir", a.dir] if a.dir else [])]))
            theirs.append(run([a.python, a.peer, PEER[size], *counts]))
        (best, middle), (peer_best, peer_middle) = [(min(t), statistics.median(t)) for t in ([r["best_s"] for r in side] for side in (ours, theirs))]
        memory, peer_memory = max(r["peak_bytes"] for r in ours) / 1e9, max(r["peak_rss_gb"] for r in theirs)
        print(f"{size}, batch {a.batch}: best {best:.2f} s, PyTorch's {peer_best:.2f} s: {best / peer_best:.2f} x; median of {a.rounds} {middle:.2f} s, PyTorch's {peer_middle:.2f} s: {middle / peer_middle:.2f} x")
        print(f"{size}, peak memory: {memory:.2f} GB, PyTorch's {peer_memory:.2f} GB: {memory / peer_memory:.2f} x; Unnoise loads in {min(r['load_s'] for r in ours):.2f} s, its first evaluation takes {min(r['first_s'] for r in ours):.2f} s", flush=True)


main()
