#!/usr/bin/env bash
# Vets what has no C in it, directly or by what it or its tests import, for macOS and Windows.
. "$(dirname "$0")/lib.sh"
program=portable
go=${GO:-go}
for os in darwin windows; do
  list() { CGO_ENABLED=1 GOOS=$os "$go" list -e "$@" ./...; }
  c=$(list -deps -test -f '{{if and .CgoFiles (not .Standard)}}{{.ImportPath}}{{end}}')
  packages=$(list -test -f '{{.ImportPath}}{{range .Deps}} {{.}}{{end}}' | awk -v c="${c//$'\n'/ }" '
    BEGIN { n = split(c, list, " "); for (i = 1; i <= n; i++) has[list[i]] }
    { name = $1; sub(/\.test$/, "", name); sub(/_test$/, "", name); seen[name]; for (i = 1; i <= NF; i++) if ($i in has) bad[name] }
    END { for (name in seen) if (!(name in bad)) print name }' | sort)
  CGO_ENABLED=0 GOOS=$os "$go" vet $packages || die "go vet fails for $os"
  say "$os: $(wc -w <<<"$packages") of $(list | wc -l) packages have no C and pass go vet"
done
