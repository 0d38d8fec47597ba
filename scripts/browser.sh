#!/usr/bin/env bash
# Looks for the browser that tests of the pages use, and as root installs one; fetches axe-core. Without them those tests are skipped and say so.
. "$(dirname "$0")/lib.sh"

# A snap sees none of the tests' files.
snap() { local real; real=$(readlink -f "$1"); [ "${real##*/}" = snap ] || head -c 4096 "$real" | grep -aq /snap/; }
browser=
for name in chromium chromium-browser google-chrome google-chrome-stable headless-shell; do
  have "$name" && ! snap "$(command -v "$name")" && { browser=$(command -v "$name"); break; }
done
if [ -n "$browser" ]; then
  say "browser for the page tests: $browser"
elif [ "$(id -u)" = 0 ] && have apt-get && install_packages chromium; then
  say "browser for the page tests: $(command -v chromium)"
else
  say "no chromium: the tests that open pages are skipped. On Debian: apt-get install chromium"
fi

# What looks for obstacles to people who can't see or point: axe-core, which a test runs in the page. npm checks the file against the registry's sum.
axe=${XDG_CACHE_HOME:-$HOME/.cache}/unnoise/axe.min.js
if [ -f "$axe" ]; then
  say "axe-core for the page tests: $axe"
elif have npm && dir=$(mktemp -d) && npm pack --silent --pack-destination "$dir" axe-core@4.14.1 >/dev/null 2>&1; then
  mkdir -p "$(dirname "$axe")"
  tar -xzOf "$dir"/axe-core-*.tgz package/axe.min.js >"$axe.part" && mv "$axe.part" "$axe"
  rm -rf "$dir"
  say "axe-core for the page tests: $axe"
else
  say "no axe-core: the test of accessibility is skipped. It needs npm and a network"
fi
