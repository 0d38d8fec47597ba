"""Records pipelines.safetensors: what diffusers' IFPipeline and IFSuperResolutionPipeline draw with the golden folders.

usage: python record_pipelines.py ../../testdata/golden      (recorded with PyTorch 2.13.0, diffusers 0.42.1 and sentencepiece 0.2.3)
"""
import pathlib, sys, torch
from diffusers import IFPipeline, IFSuperResolutionPipeline
from safetensors.torch import save_file
from sentencepiece import SentencePieceProcessor
from transformers import BatchEncoding, T5EncoderModel

class Tokenizer:
    """Calls the sentencepiece library as the pipelines call a tokenizer of transformers."""
    def __init__(self, path): self.model = SentencePieceProcessor(model_file=path)
    def batch_decode(self, ids): return []
    def __call__(self, texts, padding, max_length=None, **_):
        ids = [self.model.encode(t) + [self.model.eos_id()] for t in texts]
        if max_length: ids = [i[:max_length - 1] + i[-1:] if len(i) > max_length else i for i in ids]
        length = max_length or max(map(len, ids))
        fill = lambda i, v: i + [v] * (length - len(i))
        return BatchEncoding({"input_ids": torch.tensor([fill(i, self.model.pad_id()) for i in ids]), "attention_mask": torch.tensor([fill([1] * len(i), 0) for i in ids])})

golden = pathlib.Path(sys.argv[1])
tokenizer, encoder = Tokenizer(str(golden / "if_tiny/tokenizer/spiece.model")), T5EncoderModel.from_pretrained(golden / "if_tiny/text_encoder")
parts = dict(tokenizer=None, text_encoder=None, safety_checker=None, feature_extractor=None, watermarker=None, requires_safety_checker=False)
first, second = IFPipeline.from_pretrained(golden / "if_tiny", **parts), IFSuperResolutionPipeline.from_pretrained(golden / "if_sr_tiny", **parts)
for p in first, second:
    p.tokenizer, p.text_encoder = tokenizer, encoder

prompts, negative = ["A Photo of a man ", "a photo of a " + 40 * "very old " + "house"], "a man"
embeds, negative_embeds = first.encode_prompt(prompts, negative_prompt=[negative] * 2)
g = torch.Generator().manual_seed(2**32 + 7)
common = dict(generator=g, output_type="pt", clean_caption=False)
small = first(prompts, num_images_per_prompt=2, negative_prompt=[negative] * 2, num_inference_steps=4, guidance_scale=5.0, **common).images
large = second([p for p in prompts for _ in range(2)], image=small, negative_prompt=[negative] * 4, num_inference_steps=4, guidance_scale=2.0, noise_level=100, **common).images
plain = first(prompts[:1], num_inference_steps=3, guidance_scale=1.0, **common).images
save_file({"embeds": embeds.contiguous(), "negative": negative_embeds[:1].contiguous(), "small": small, "large": large, "plain": plain}, "pipelines.safetensors", metadata={"prompt.0": prompts[0], "prompt.1": prompts[1], "negative": negative})
