#!/usr/bin/env bash
# Vets what has no C in it, directly or by what it imports, for macOS and Windows.
. "$(dirname "$0")/lib.sh"
program=portable
go=${GO:-go}
for os in darwin windows; do
  packages=$(CGO_ENABLED=0 GOOS=$os "$go" list -e -deps -f '{{if and (not .Standard) .Module}}{{if .Module.Main}}{{.ImportPath}} {{if or .DepsErrors .Error .IgnoredGoFiles}}{{range .DepsErrors}}c{{end}}{{with .Error}}c{{end}}{{end}}{{end}}{{end}}' ./... |
    awk 'NF == 1 { print $1 }' | sort -u)
  CGO_ENABLED=0 GOOS=$os "$go" vet $packages || die "go vet fails for $os"
  say "$os: $(wc -w <<<"$packages") packages pass go vet"
done
