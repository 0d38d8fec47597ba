"""Records what transformers makes of texts with added tokens.

    python added.py FOLDER added.json.gz

FOLDER has the spiece.model of testdata/golden/if_tiny/tokenizer. With transformers 4.57 the ids are recorded as "alone": its
tokenizer.json has a Metaspace that is not behind a WhitespaceSplit. With transformers 5.23 they are recorded as "split". Each run adds
its own to the file.
"""
import gzip
import json
import os
import random
import shutil
import sys
import tempfile

import transformers

source, out = sys.argv[1:]
random.seed(5)


def token(content, **how):
    return dict(dict(content=content, lstrip=False, normalized=True, rstrip=False, single_word=False, special=False), **how)


special = dict(special=True, normalized=False)
tokens = {0: token("<pad>", **special), 1: token("</s>", **special), 2: token("<unk>", **special)}
tokens.update({1299 - i: token(f"<extra_id_{i}>", lstrip=True, rstrip=True, **special) for i in range(3)})
tokens.update({1300: token("<cat-toy>"), 1301: token("catsword", single_word=True), 1302: token("<strip>", lstrip=True, rstrip=True, **special),
               1303: token("cat"), 1304: token("<l>", lstrip=True), 1305: token("<r>", rstrip=True), 1306: token("½x")})
settings = {"added_tokens_decoder": tokens, "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "extra_ids": 100, "tokenizer_class": "T5Tokenizer"}

WORDS = ["a", "photo", "of", "cat", "cats", "catsword", "<cat-toy>", "<strip>", "<l>", "<r>", "½x", "½", "x", "</s>", "<pad>", "<unk>", "<extra_id_0>",
         "<extra_id_57>", "<extra_id_", "Zürich", "日本", ",", ".", "e\u0301", "ﬁne", "＜cat-toy＞", "2x"]
SPACES = ["", " ", "  ", "\t", "\n", "\u00a0", " ", "\u3000", ""]
texts = ["a red fox", "a photo of a <cat-toy> in snow", "end </s> of text", "<extra_id_0> . hello", "a<pad>b", "a </s>", "", " ", "cat"]
for _ in range(300):
    texts.append(random.choice(["", " ", "  "]) + "".join(random.choice(WORDS) + random.choice(SPACES) for _ in range(random.randint(1, 9))))

with tempfile.TemporaryDirectory() as dir:
    shutil.copy(os.path.join(source, "spiece.model"), dir)
    with open(os.path.join(dir, "tokenizer_config.json"), "w") as f:
        json.dump(settings, f)
    saved = os.path.join(dir, "saved")
    transformers.T5TokenizerFast.from_pretrained(dir).save_pretrained(saved)
    t = transformers.T5TokenizerFast.from_pretrained(saved)
    ids = [t(text).input_ids for text in texts]

record = json.load(gzip.open(out)) if os.path.exists(out) else {"settings": settings, "texts": texts}
record["alone" if transformers.__version__.startswith("4.") else "split"] = ids
with gzip.GzipFile(out, "wb", mtime=0) as f:
    f.write(json.dumps(record).encode())
