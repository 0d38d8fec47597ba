"""Records files of torch.save for the tests: python record.py FOLDER. Small numbers, so that the tests can say what they are."""

import collections
import os
import pathlib
import sys

import torch

out = pathlib.Path(sys.argv[1])
base = torch.arange(6).reshape(2, 3)
kinds = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
wide = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
shared = torch.arange(10, dtype=torch.float32)

torch.save({
    "kinds": {k: base.to(getattr(torch, k)) for k in kinds},
    "views": collections.OrderedDict(
        transposed=wide.permute(2, 0, 1), step=shared[1::3], tail=shared[7:], expanded=torch.tensor([1.5, -2.0]).expand(3, 2),
        scalar=torch.tensor(7.0), empty=torch.zeros(0, 4)),
    "plain": [1, -2, 2**40, 0.5, True, None, "tëxt", ("a", (), [], {})],
    3: "number",
}, out / "containers.pth")

# As courses hand out prompts' embeddings. torch.save stores the whole storage of a view once.
e = torch.arange(3 * 5 * 4, dtype=torch.float16).reshape(3, 5, 4) / 8
mask = torch.tensor([[1, 1, 1, 0, 0]])
torch.save({"a photo of a dog": e[0:1], "an oil painting": e[1:2], "": e[2:3]}, out / "prompts.pth")
torch.save({"a photo of a dog": (e[0], mask), "": {"prompt_embeds": e[2:3], "attention_mask": mask[0].bool()}}, out / "masks.pth")
torch.save({"a photo of a dog": e[0]}, out / "protocol4.pth", pickle_protocol=4)
torch.save(e, out / "tensor.pth")
torch.save({"a photo of a dog": e[0]}, out / "legacy.pth", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(2, 2).state_dict(), out / "state.pth")
torch.save({"w": torch.nn.Parameter(torch.ones(2))}, out / "parameter.pth")
torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, out / "complex.pth")


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/unnoise-was-here",)


torch.save({"a photo of a dog": Evil()}, out / "system.pth")

# pair.pth is torch.save(pipe.encode_prompt("a red fox", ...)) with diffusers' IFPipeline in float16.
