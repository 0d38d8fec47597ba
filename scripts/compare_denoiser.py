#!/usr/bin/env python3
"""A denoiser of ours beside PyTorch's by the same recipe: losses by epoch, time, and both errors on the test digits.

usage: PYTHON compare_denoiser.py [--data DIR] PEER RUN OUT

PYTHON is an interpreter that has torch. PEER is a script with the network's class, UNet(dim), as mnist_unet.py has it; its conditions are
left out. RUN is the folder of our run, whose recipe PyTorch's training follows. OUT keeps PyTorch's state after each epoch: stopped, the
same command goes on. Prints tables in Markdown.
"""
import argparse, gzip, importlib.util, json, os, subprocess, sys, time
import torch
import torch.nn.functional as F

root = os.path.join(os.path.dirname(__file__), "..")


def idx(folder, name):
    path = os.path.join(folder, name)
    with open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz", "rb") as f:
        raw = f.read()
    dims = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(raw[3])]
    return torch.frombuffer(bytearray(raw[4 + 4 * len(dims):]), dtype=torch.uint8).reshape(dims)[:, None].float() / 255


def unconditional(peer, dim):
    spec = importlib.util.spec_from_file_location("peer", peer)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Denoiser(module.UNet):
        def __init__(self):
            super().__init__(dim)
            del self.t_fc1, self.t_fc2, self.c_fc1, self.c_fc2

        def forward(self, x):
            a = self.in_block(x)
            b = self.down1(a)
            d = self.down2(b)
            u = self.unflatten(F.gelu(F.avg_pool2d(d, 7)))
            u = self.up2(torch.cat([self.up1(torch.cat([u, d], 1)), b], 1))
            return self.out_conv(self.out_block(torch.cat([u, a], 1)))

    return Denoiser().to(memory_format=torch.channels_last)


def train(model, images, recipe, out, narrow):
    """Goes on from the newest epoch in OUT and returns the epochs' records."""
    optimizer = torch.optim.Adam(model.parameters(), recipe["learning_rate"], fused=True)
    path, records = os.path.join(out, "state.pt"), []
    if os.path.exists(path):
        state = torch.load(path)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        records = state["records"]
    model.train()
    for epoch in range(len(records) + 1, recipe["epochs"] + 1):
        torch.manual_seed(1000 * recipe["seed"] + epoch)
        start, losses = time.time(), []
        for batch in torch.randperm(len(images)).split(recipe["batch"]):
            clean = images[batch].to(memory_format=torch.channels_last)
            noisy = clean + recipe["network"]["sigma"] * torch.randn_like(clean)
            with narrow():
                estimate = model(noisy)
            loss = F.mse_loss(estimate.float(), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        records.append({"mean_loss": sum(losses) / len(losses), "seconds": time.time() - start})
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "records": records}, path + ".new")
        os.replace(path + ".new", path)
    return records


def error(model, images, sigma, narrow):
    """The mean squared error, with the noise that `unnoise eval` draws for seed 0."""
    model.eval()
    torch.manual_seed(0)
    total = 0.0
    with torch.no_grad():
        for clean in images.split(250):
            noisy = clean + sigma * torch.randn_like(clean)
            with narrow():
                estimate = model(noisy.to(memory_format=torch.channels_last))
            total += F.mse_loss(estimate.float(), clean, reduction="sum").item()
    return total / images.numel()


def main():
    sys.stdout.reconfigure(encoding="utf-8")
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["peer", "run", "out"]:
        p.add_argument(name)
    p.add_argument("--data", default=os.path.join(root, "dataset", "mnist"))
    a = p.parse_args()
    with open(os.path.join(a.run, "config.json")) as f:
        recipe = json.load(f)
    with open(os.path.join(a.run, "metrics.jsonl")) as f:
        ours = [e for e in map(json.loads, f) if e["event"] == "epoch"]
    narrow = lambda: torch.autocast("cpu", torch.bfloat16, enabled=recipe["dtype"] == "bf16")
    os.makedirs(a.out, exist_ok=True)
    torch.manual_seed(recipe["seed"])
    model = unconditional(a.peer, recipe["network"]["dim"])
    theirs = train(model, idx(a.data, "train-images-idx3-ubyte")[:recipe["data"]["images"]], recipe, a.out, narrow)

    print("| epoch | mean loss, Unnoise | mean loss, PyTorch |\n|---:|---:|---:|")
    for i, (x, y) in enumerate(zip(ours, theirs), 1):
        print(f"| {i} | {x['mean_loss']:.4f} | {y['mean_loss']:.4f} |")
    print("\nEpochs took %.0f s; PyTorch's %.0f s.\n" % tuple(sum(e["seconds"] for e in epochs) for epochs in (ours, theirs)))
    test = idx(a.data, "t10k-images-idx3-ubyte")
    command = [os.path.join(root, "bin", "unnoise"), "eval", "--json", "--model", a.run, "--count", str(len(test)), "--data", a.data, "--dtype", recipe["dtype"]]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout)
    print("| σ | Unnoise | PyTorch |\n|---:|---:|---:|")
    for level in report["denoising"]:
        print(f"| {level['sigma']:g} | {level['mse_model']:.4f} | {error(model, test, level['sigma'], narrow):.4f} |")


if __name__ == "__main__":
    main()
