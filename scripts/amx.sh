#!/usr/bin/env bash
# Runs the tests that concern the CPU with AMX emulated: a copy of oneDNN asks a preloaded library instead of the processor what there is, and
# that library carries out tile instructions in the signal that they raise. It tells what is computed, not how fast.
# `make test-amx ARGS=-v` hands flags to go test.
#
# It is skipped, which is no failure, where the processor has AMX, where 'make test' tests it, or no AVX-512 with bfloat16, or where there is
# no oneDNN.
. "$(dirname "$0")/lib.sh"
program=amx

go=${GO:-go}
has() { grep -qw "$1" /proc/cpuinfo; }
[ "$(uname -m)" = x86_64 ] && has avx512_bf16 || { say "SKIPPED: the emulation is for processors with AVX-512 and bfloat16"; exit 0; }
has amx_bf16 && { say "this processor has it: 'make test' tests it"; exit 0; }
have gcc && have objdump || die "gcc or objdump is missing. On Debian or Ubuntu: apt-get install build-essential"

dir=$(TMPDIR=/tmp mktemp -d) # its path goes where spaces part words
trap 'rm -rf "$dir"' EXIT
library=$(bin/unnoise doctor --json | sed -n 's/.*"library":"\([^"]*\)".*/\1/p')
[ -n "$library" ] || { say "SKIPPED: there is no oneDNN here; 'make setup' gets it"; exit 0; }

gcc -O3 -march=skylake-avx512 -shared -fPIC -o "$dir/emulate.so" scripts/amx/emulate.c -ldl
cp -L "$library" "$dir/libdnnl.so.3"
objdump -d --no-show-raw-insn "$library" | awk '$2 == "cpuid" { sub(":", "", $1); print $1 }' >"$dir/cpuid"
[ -s "$dir/cpuid" ] || die "$library never asks what the processor is"
while read -r address; do
  # Code lies in the file where it lies in memory, less what the library's layout may add: look before changing.
  [ "$(od -An -tx1 -j "$((0x$address))" -N 2 "$dir/libdnnl.so.3")" = " 0f a2" ] || die "$library lies in memory otherwise than in the file"
  printf '\xcc' | dd of="$dir/libdnnl.so.3" bs=1 seek="$((0x$address))" conv=notrunc status=none # a breakpoint
done <"$dir/cpuid"

export ONEDNN_LIBRARY=$dir/libdnnl.so.3
start=$SECONDS
"$go" test -count=1 -vet=off -timeout 20m -exec "env LD_PRELOAD=$dir/emulate.so UNNOISE_REQUIRE_AMX=1" "$@" ./onednn || die "tests failed"
say "passed in $((SECONDS - start)) s"
