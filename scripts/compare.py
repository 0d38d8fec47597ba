#!/usr/bin/env python3
"""Unnoise and PyTorch side by side: their benchmarks in turns, so that both meet the same state of the machine.

usage: compare.py [--rounds 3] [--runs 5] [--dim 64] [--batch 128] [--condition class] [--dtype auto] [--config NAME ...] PYTHON PEER

PYTHON is an interpreter that has torch, PEER a script with PyTorch's side of the benchmark (mnist_unet.py). It is called as
PYTHON PEER --dim D --batch B --runs N [--only CONFIG], with OMP_NUM_THREADS set, and prints a JSON line for each configuration:
{"config": "fp32", "train_step": {"best_s": 1.2}, "evaluation": {"best_s": 0.4}}. Each round runs both. Prints the best and the median over all rounds of the rounds' bests, their ratios, and peak memory.
"""
import argparse, json, os, statistics, subprocess, sys


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("python")
    p.add_argument("peer")
    for name, default in [("rounds", 3), ("runs", 5), ("dim", 64), ("batch", 128)]:
        p.add_argument("--" + name, type=int, default=default)
    p.add_argument("--condition", default="class")
    p.add_argument("--dtype", default="auto")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--config", action="append", help="PyTorch's configurations to run; all without it")
    a = p.parse_args()
    program = os.path.join(os.path.dirname(__file__), "..", "bin", "unnoise")
    env = dict(os.environ, OMP_NUM_THREADS=str(a.threads))
    size = ["--dim", str(a.dim), "--batch", str(a.batch), "--runs", str(a.runs)]
    times, memory = {}, {}

    def note(who, what, seconds):
        times.setdefault((who, what), []).append(seconds)

    def run(who, command):
        """The JSON lines a command prints; its peak memory is noted."""
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
            out = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"compare.py: {command[0]} ended with status {child.returncode}")
        memory[who] = max(memory.get(who, 0), usage.ru_maxrss * 1024)
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    for _ in range(a.rounds):
        for what in ["train", "evaluate"]:
            for r in run("unnoise " + what, [program, "bench", what, "--condition", a.condition, "--dtype", a.dtype, "--threads", str(a.threads), "--json", *size]):
                note("unnoise " + r["dtype"], what, r["best_s"])
        for config in a.config or [None]:
            who = "pytorch" + (" " + config if config else "")
            for r in run(who, [a.python, a.peer, *size, *(["--only", config] if config else [])]):
                note("pytorch " + r["config"], "train", r["train_step"]["best_s"])
                note("pytorch " + r["config"], "evaluate", r["evaluation"]["best_s"])
    for what in ["train", "evaluate"]:
        best = {who: (min(v), statistics.median(v)) for (who, w), v in times.items() if w == what}
        peer = [min(v[i] for who, v in best.items() if who.startswith("pytorch")) for i in (0, 1)]
        for who, (least, middle) in best.items():
            ratio = f"   {least / peer[0]:.2f} and {middle / peer[1]:.2f} x PyTorch's best configuration" if who.startswith("unnoise") else ""
            print(f"{what:9} {who:36} best {1e3 * least:8.1f} ms   median of {a.rounds} {1e3 * middle:8.1f} ms{ratio}")
    for who, peak in memory.items():
        print(f"peak memory, {who}: {peak / 1e6:.0f} MB")


main()
