#!/usr/bin/env bash
# Checks what building needs and gets what running fast needs. A second run changes nothing and needs no network.
. "$(dirname "$0")/lib.sh"

go=${GO:-go}
want=$(sed -n 's/^go //p' go.mod)
have "$go" || die "Go $want or newer builds this program, and there is no '$go' here. Get it from https://go.dev/dl, put its bin folder on PATH, and try again."
version=$("$go" env GOVERSION 2>&1) || die "'$go' does not run: $version"
version=${version##*$'\n'} # behind what it says of fetching itself
found=$(sed 's/^go//; s/[^0-9.].*//' <<<"$version")
[ -z "$found" ] || [ "$want" = "$found.0" ] || [ "$(printf '%s\n' "$want" "$found" | sort -V | head -n 1)" = "$want" ] ||
  die "this program needs Go $want or newer; '$go' is ${version#go}. Debian's golang package is often older: get a new one from https://go.dev/dl and put its bin folder first on PATH."

cc=$("$go" env CC)
compiles() { printf '#include <stdlib.h>\n#include <omp.h>\n' | $cc -fopenmp -E - >/dev/null 2>&1; }
! $cc -dM -E - </dev/null 2>/dev/null | grep __clang__ >/dev/null || die "gcc builds the engine's kernels, and '$cc' is clang. Try again with CC=gcc."
compiles || { can_install && install_packages gcc libc6-dev && compiles; } ||
  die "a C compiler builds the engine's kernels, and '$cc' or the C library's headers are not here. On Debian or Ubuntu: apt-get install gcc libc6-dev"
[ "$("$go" env CGO_ENABLED)" = 1 ] || die "the engine's kernels are in C, and cgo is off. Try again with CGO_ENABLED=1."
say "Go ${version#go}, $("${cc%% *}" --version | head -n 1)"

exec bash scripts/onednn.sh
