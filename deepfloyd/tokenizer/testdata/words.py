"""Records how the sentencepiece library and transformers' T5Tokenizer cut texts with a model that Words made.

usage: UNNOISE_WORDS=/tmp/words/spiece.model go test -run TestWords ./deepfloyd/tokenizer && words.py /tmp/words words.json
"""
import hashlib, json, os, sys
import sentencepiece
from transformers import T5Tokenizer

folder, out = sys.argv[1:]
path = os.path.join(folder, "spiece.model")
json.dump({"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "extra_ids": 0},
          open(os.path.join(folder, "tokenizer_config.json"), "w"))
library, tokenizer = sentencepiece.SentencePieceProcessor(path), T5Tokenizer.from_pretrained(folder)
cases = []
for text in ["a red  rocket, two cats", "a dog", "rockets", "café", "red-blue", "a ☂", "", "two (2) cats!", "ground,ground"]:
    ids = tokenizer(text, padding="max_length", max_length=12, truncation=True).input_ids
    cases.append({"text": text, "library": library.encode(text), "ids": ids})
json.dump({"sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(), "cases": cases}, open(out, "w"), indent=1)
