"""Trains small SentencePiece models and records what the sentencepiece package (0.2.3) makes of random texts.

    python record.py cases.json.gz 150

records 150 texts of each model: by name, the model, the texts, both in base64, and their ids. Those of "runs" have several cuts with
the same sum of scores.
"""
import base64
import gzip
import io
import json
import random
import sys
import tempfile

import sentencepiece

out, count = sys.argv[1], int(sys.argv[2])
random.seed(6)

WORDS = """a photo of an old man by the sea, oil painting, people around campfire; the quick brown fox jumps over lazy dogs.
red green blue 0123456789 x-ray don't "quoted" naïve café fiancée über Straße señor Ελληνικά φως λόγος Москва снег река
日本語 漢字 かな カナ 한국어 서울 שלום עולם مرحبا بالعالم हिन्दी नमस्ते ไทย สวัสดี ｆｕｌｌ ｗｉｄｔｈ ﬁne ﬂow ½ ² ™ ① Ⅷ ㎏ é ö 👩‍🚀 🚀 🏳️‍🌈 <b> [x] {y} ▁ ▁▁""".split()
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u1680", "\u2003", "\u2009", "\u200b", "\u2028", "\u202f", "\u205f", "\u3000", "\ufeff", "\u2581"]
CONTROLS = [chr(c) for c in [0, 1, 7, 8, 0x1b, 0x1c, 0x1f, 0x7f, 0x80, 0x85, 0xad, 0x200c, 0x200d, 0x200e, 0x202e, 0x2060, 0xfffd, 0xfffe, 0xfe0f]]
MARKS = [chr(c) for c in [*range(0x300, 0x370), 0x93c, 0x94d, 0xe31, 0x5b0, 0x64b, 0x3099, 0x309a, 0x1ab0, 0x20dd]]
BROKEN = [b"\xff", b"\xc0\x80", b"\xe2\x96", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xf0\x9f", b"\xe0\x80\xaf"]
RANGES = [(0x20, 0x7f), (0xa0, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0xe00), (0x1100, 0x1200), (0x1e00, 0x2000), (0x2000, 0x2c00),
          (0x3000, 0x3400), (0x4e00, 0x4f00), (0xac00, 0xad00), (0xf900, 0x10000), (0x1d400, 0x1d800), (0x1f100, 0x1fa00), (0x20000, 0x20100), (0, 0x110000)]


def rune():
    while True:
        c = random.randrange(*random.choice(RANGES))
        if not 0xd800 <= c < 0xe000:
            return chr(c).encode()


def text(symbols):
    parts = []
    for _ in range(random.choice([0, 1, 2, 3, 5, 8, 13, 30])):
        kind = random.random()
        if kind < 0.35:
            parts.append(random.choice(WORDS).encode())
        elif kind < 0.55:
            parts.append(random.choice(SPACES).encode())
        elif kind < 0.62:
            parts.append(random.choice(CONTROLS).encode())
        elif kind < 0.70:
            parts.append((random.choice("aeoиか한") + "".join(random.choices(MARKS, k=random.randint(1, 3)))).encode())
        elif kind < 0.76:
            parts.append(random.choice(BROKEN))
        elif kind < 0.84:
            parts.append(random.choice(symbols + ["</s>", "<pad>", "<unk>", "<0x41>"]).encode())
        else:
            parts.extend(rune() for _ in range(random.randint(1, 4)))
    return b"".join(parts)


def runs():
    return "".join(random.choice("abc") * random.randint(1, 9) for _ in range(random.randint(1, 5))).encode()


corpus = [" ".join(random.choices(WORDS, k=12)) for _ in range(400)]
rules = tempfile.NamedTemporaryFile("w", suffix=".tsv")
rules.write("41\t61\n41 42\t\n42\t20 78 20\n3042\t20\n7a\t20 20 7a\n")
rules.flush()
MODELS = {
    "nmt_nfkc": {},
    "bytes": {"byte_fallback": True, "normalization_rule_name": "identity", "vocab_size": 700},
    "symbols": {"user_defined_symbols": ["ab", "abc", "<man>", " ", "日本", "x▁y", "\U0001f680"], "normalization_rule_tsv": rules.name},
    "spaces": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "add_dummy_prefix": False,
               "allow_whitespace_only_pieces": True},
    "runs": {"vocab_size": 60, "normalization_rule_name": "identity", "max_sentencepiece_length": 6},
    "behind": {"normalization_rule_tsv": rules.name, "treat_whitespace_as_suffix": True, "split_by_whitespace": False},
}
cases = {}
for name, options in MODELS.items():
    model = io.BytesIO()
    sentences = corpus if name != "runs" else [" ".join(runs().decode() for _ in range(12)) for _ in range(400)]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_writer=model, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                                             num_threads=1, minloglevel=2, hard_vocab_limit=False, character_coverage=0.98,
                                             **{"vocab_size": 300, **options})
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    symbols = options.get("user_defined_symbols", []) + ["A", "AB", "ABB", "あ", "z"]
    cases[name] = {"model": base64.b64encode(model.getvalue()).decode(), "texts": [], "ids": []}
    for t in (runs() if name == "runs" else text(symbols) for _ in range(count)):
        cases[name]["texts"].append(base64.b64encode(t).decode())
        cases[name]["ids"].append(processor.encode(t))
with gzip.GzipFile(out, "wb", mtime=0) as f:
    f.write(json.dumps(cases, separators=(",", ":")).encode())
