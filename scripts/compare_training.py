#!/usr/bin/env python3
"""A training of ours beside PyTorch's by the same recipe: losses by epoch, time, and what one classifier says of samples of both:
of both networks by our sampler, and of PyTorch's by its own.

usage: compare_training.py [--epochs 20] [--count 1000] [--data DIR] PYTHON PEER RUN OUT

PYTHON is an interpreter that has torch and safetensors. PEER is a script that takes a folder with MNIST's IDX files and a folder to write to, trains as
`unnoise train mnist` does, and leaves there metrics.jsonl, a line an epoch with epoch, mean_loss and seconds so far, the last epoch's
state as epoch-NN.pt, and samples.safetensors with images [N,1,28,28] in [0,1] and labels [N], guided with 5. It is not run where OUT has both already.
RUN is the folder of our run. Prints tables in Markdown.
"""
import argparse, json, os, shutil, subprocess, sys

root = os.path.join(os.path.dirname(__file__), "..")


def evaluated(*args):
    out = subprocess.run([os.path.join(root, "bin", "unnoise"), "eval", "--json", *args], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    return json.loads(out)


def epochs(path):
    with open(path) as lines:
        return [e for e in map(json.loads, lines) if e.get("event", "epoch") == "epoch"]


def as_model(python, state, config, folder):
    """Makes a folder that --model takes of PyTorch's weights, which have the names and layouts of ours."""
    os.makedirs(folder, exist_ok=True)
    convert = """import sys, torch
from safetensors.torch import save_file
state = torch.load(sys.argv[1])
save_file({k: v.float().contiguous() for k, v in state.items() if not k.endswith("num_batches_tracked")}, sys.argv[2])"""
    subprocess.run([python, "-c", convert, state, os.path.join(folder, "model.safetensors")], check=True)
    shutil.copy(config, folder)
    return folder


def main():
    sys.stdout.reconfigure(encoding="utf-8")
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["python", "peer", "run", "out"]:
        p.add_argument(name)
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--data", default=os.path.join(root, "dataset", "mnist"))
    a = p.parse_args()
    last = f"epoch-{a.epochs:02d}"
    samples, state = os.path.join(a.out, "samples.safetensors"), os.path.join(a.out, last + ".pt")
    if not (os.path.exists(samples) and os.path.exists(state)):
        subprocess.run([a.python, a.peer, a.data, a.out, "--epochs", str(a.epochs), "--samples", str(a.count)], check=True)

    ours, theirs = epochs(os.path.join(a.run, "metrics.jsonl")), epochs(os.path.join(a.out, "metrics.jsonl"))
    print("| epoch | mean loss, Unnoise | mean loss, PyTorch |\n|---:|---:|---:|")
    for x, y in zip(ours, theirs):
        print(f"| {x['epoch']} | {x['mean_loss']:.4f} | {y['mean_loss']:.4f} |")
    seconds = sum(e["seconds"] for e in ours)
    print(f"\nSteps of {len(ours)} epochs took {seconds:.0f} s; PyTorch's {len(theirs)} epochs {theirs[-1]['seconds']:.0f} s.\n")

    model = as_model(a.python, state, os.path.join(a.run, "checkpoints", last, "config.json"), os.path.join(a.out, last))
    print("| network | sampler | γ | accuracy, % | Fréchet distance | floor |\n|---|---|---:|---:|---:|---:|")
    drawing = ["--data", a.data, "--count", str(a.count), "--guidance", "5,1"]
    for network, sampler, args in [("Unnoise", "Unnoise", ["--model", a.run, *drawing]), ("PyTorch", "Unnoise", ["--model", model, *drawing]), ("PyTorch", "PyTorch", ["--data", a.data, "--samples", samples])]:
        report = evaluated(*args)
        for row in report["rows"]:
            print(f"| {network} | {sampler} | {row.get('guidance', 5):g} | {100 * row['accuracy']:.1f} | {row['frechet_distance']:.3f} | {report['floors'][1]['frechet_distance']:.3f} |")


if __name__ == "__main__":
    main()
