#!/usr/bin/env bash
# Looks for the browser that tests of the pages use, and as root installs one. Without it those tests are skipped and say so.
. "$(dirname "$0")/lib.sh"

# A snap sees none of the tests' files.
snap() { local real; real=$(readlink -f "$1"); [ "${real##*/}" = snap ] || head -c 4096 "$real" | grep -aq /snap/; }
for name in chromium chromium-browser google-chrome google-chrome-stable headless-shell; do
  have "$name" && ! snap "$(command -v "$name")" && { say "browser for the page tests: $(command -v "$name")"; exit 0; }
done
if [ "$(id -u)" = 0 ] && have apt-get && install_packages chromium; then
  say "browser for the page tests: $(command -v chromium)"
else
  say "no chromium: the tests that open pages are skipped. On Debian: apt-get install chromium"
fi
