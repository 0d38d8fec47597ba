# Shared by the scripts beside it, which source it.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$PATH:/usr/sbin:/sbin # ldconfig, for a user's shell
export DEBIAN_FRONTEND=noninteractive

program=setup # who speaks
say() { echo "$program: $*"; }
warn() { echo "$program: warning: $*" >&2; }
die() { echo "$program: error: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# as_root runs a command as root without ever asking for a password.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# can_install tells whether packages can be installed here without asking anyone.
can_install() {
  have apt-get && { [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }
}

# install_packages NAME… installs Debian packages, updating the package list first where it must.
install_packages() {
  say "installing $* with apt-get"
  local log; log=$(mktemp)
  if as_root apt-get install -y -qq --no-install-recommends "$@" </dev/null >"$log" 2>&1 ||
    { as_root apt-get update -qq </dev/null >"$log" 2>&1 && as_root apt-get install -y -qq --no-install-recommends "$@" </dev/null >"$log" 2>&1; }; then
    rm -f "$log"
  else
    tail -n 3 "$log" >&2; rm -f "$log"; return 1
  fi
}
