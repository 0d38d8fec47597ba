#!/usr/bin/env bash
# Trains each model by its recipe, measures it, and makes the page of them. Whatever is there already is used, a run that was stopped goes
# on, a measurement that was stopped begins again. Hours, on two cores with AVX-512 and bfloat16 about nine; DIM=32 begins runs with networks
# of 32 channels, which take a fifth of the time.
#
# usage: writeup.sh [RUNS [PAGE]]     default: runs out/writeup
here=$PWD
. "$(dirname "$0")/lib.sh"

whole() { case $1 in '' | /*) echo "$1" ;; *) echo "$here/$1" ;; esac; } # a path that is given is meant from where it is given
runs=$(whole "${1-}") page=$(whole "${2-}")
runs=${runs:-runs} page=${page:-out/writeup}
unnoise=bin/unnoise
dim=${DIM:+--dim $DIM}
mkdir -p "$runs"

trained() { # trained NAME FLAGS…
  local dir=$runs/$1
  if [ -e "$dir/config.json" ]; then $unnoise train mnist --resume "$dir"; else $unnoise train mnist --out "$dir" $dim "${@:2}"; fi
}
trained none --condition none
trained class --condition class
trained time --condition time
trained class-flat --condition class --decay 1
trained flow-time --condition time --objective flow
trained flow --condition class --objective flow

measured() { # measured NAME RUN FLAGS…
  grep -qs '"complete": true' "$runs/eval-$1.json" || $unnoise eval --model "$runs/$2" --out "$runs/eval-$1.json" "${@:3}"
}
measured none none --count 10000
measured guidance class --guidance 0,1,5,10
measured samplers class --sampler ddim:10,ddim:20,ddim:50,dpm++:10,dpm++:20,dpm++:50
measured time time
measured flow flow --guidance 1,5 --sampler euler:10,euler:20,euler:50,midpoint:5,midpoint:10,midpoint:25
measured flow-guidance flow --guidance 0,10
measured flat class-flat --guidance 0,1,5,10

$unnoise writeup --none "$runs/none" --time "$runs/time" --class "$runs/class" --class-flat "$runs/class-flat" --flow-time "$runs/flow-time" --flow "$runs/flow" \
  --eval "$runs/eval-none.json" --eval "$runs/eval-time.json" --eval "$runs/eval-guidance.json" --eval "$runs/eval-samplers.json" --eval "$runs/eval-flow.json" \
  --eval "$runs/eval-flow-guidance.json" --eval "$runs/eval-flat.json" --out "$page"
