#!/bin/sh
# Puts models that two runs have kept into the program: pretrained/emoji/stage1 and stage2, with bfloat16 weights.
#
# usage: scripts/pack_emoji.sh RUN1 [STEP1 [RUN2 [STEP2]]]     (step 0: the newest model; without RUN2 stage2 stays)
#
# PROGRAM is what exports them (default: bin/unnoise). Build the program again afterwards.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 RUN1 [STEP1 [RUN2 [STEP2]]]" >&2; exit 2; }
cd "$(dirname "$0")/.."
pack() { # STAGE RUN STEP
	to=pretrained/emoji/$1
	find "$to" -mindepth 1 ! -name NOTICE.md -delete
	"${PROGRAM:-bin/unnoise}" model export --run "$2" --epoch "$3" --dtype bf16 --out "$to"
	# of folders, their names are enough for others
	sed -i 's,"\(name\|from\)": "/.*/\([^/"]*\)","\1": "\2",' "$to/training.json"
	mv "$to/metrics.jsonl.gz" "pretrained/emoji/$1.metrics.jsonl.gz"
}
pack stage1 "$1" "${2:-0}"
[ $# -lt 3 ] || pack stage2 "$3" "${4:-0}"
du -sh pretrained/emoji
