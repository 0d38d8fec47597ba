#!/usr/bin/env bash
# Builds everything for linux/arm64 and runs its tests under qemu's emulation of one program. `make test-arm64 ARGS=-v` hands
# flags to go test.
#
# It is skipped, which is no failure, for one reason only: the cross compiler or qemu is missing and cannot be installed here.
# UNNOISE_REQUIRE_ARM64=1 makes that a failure too. Whatever goes wrong once they are here is a failure.
. "$(dirname "$0")/lib.sh"
program=arm64

go=${GO:-go}
sysroot=/usr/aarch64-linux-gnu
packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)

[ "$(uname -m)" = aarch64 ] && { say "this machine is one: 'make test' tests it"; exit 0; }

skip() {
  [ "${UNNOISE_REQUIRE_ARM64:-}" != 1 ] || die "$*"
  say "SKIPPED: $*"; exit 0
}
complete() {
  have aarch64-linux-gnu-gcc && [ -e "$sysroot/include/stdio.h" ] && { have qemu-aarch64 || have qemu-aarch64-static; }
}
if ! complete; then
  hint="On Debian or Ubuntu: apt-get install ${packages[*]}"
  can_install || skip "the cross compiler or qemu is missing. $hint"
  why=$(install_packages "${packages[@]}" 2>&1 >/dev/null) || skip "the cross compiler or qemu is missing, and apt-get could not install it (${why##*$'\n'}). $hint"
  complete || die "apt-get installed ${packages[*]}, and yet there is no aarch64-linux-gnu-gcc, $sysroot/include or qemu-aarch64"
fi
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static)
say "$(aarch64-linux-gnu-gcc --version | head -n 1), $("$qemu" --version | head -n 1)"

export CGO_ENABLED=1 GOOS=linux GOARCH=arm64 CC=aarch64-linux-gnu-gcc
export ONEDNN_LIBRARY= # none: the one that is here is for the processor that is here
emulator="$qemu -L $sysroot"
export UNNOISE_TEST_EXEC=$emulator # for the tests that start the program they built

timed() { # timed WHAT COMMAND…
  local start=$SECONDS
  "${@:2}" || die "$1 failed"
  say "$1: $((SECONDS - start)) s"
}
own_memory=TestNothingLeaks # the emulator's memory for translated code counts as the program's
measures=TestMeasure # it times networks
emulated=("$go" test -count=1 -p 1 -vet=off -timeout 10m)

timed "build" "$go" build -buildvcs=false ./...
timed "vet" "$go" vet ./...
timed "tests" "${emulated[@]}" -exec "$emulator" -skip "^(TestDemo(InBrowser)?|$own_memory|$measures)$" "$@" ./onednn/... ./weights ./dataset ./diffusion ./figure ./writeup ./internal/...

# Networks take a hundred times longer here than they should: emulated, and without oneDNN. What trains for many steps is left to the
# processor that is here.
timed "tests of networks" "${emulated[@]}" -exec "$emulator" -skip '^(TestGoldenClass|TestMixedPrecision|TestManyImages)$' "$@" ./mnistunet
timed "tests of measures" "${emulated[@]}" -exec "$emulator" -run '^(TestFit|TestFrechetClosedForms|TestFrechetProperties|TestReadSamples|TestShifts)$' "$@" ./evaluation
timed "tests of runs" "${emulated[@]}" -exec "$emulator" -run '^(TestLearningRate|TestDivergence|TestReadOnly|TestBatches)$' "$@" ./training
timed "tests of the command line" "${emulated[@]}" -exec "$emulator" -run '^(TestVersion|TestUsage|TestEvalRefusals|TestDoctorAndBench|TestWithoutOneDNN|TestCompletion)$' "$@" ./cmd/unnoise
say "passed in $SECONDS s"
