// Package onednn is a GoMLX compute backend for CPUs: oneDNN for convolutions and products, kernels of its own for the
// rest, on one pool of threads.
//
// A GoMLX program switches to it by importing the package and naming the backend:
//
//	import _ "github.com/unnoise/unnoise/onednn"
//
//	GOMLX_BACKEND=onednn ./program                 # one thread for each CPU
//	GOMLX_BACKEND=onednn:threads=4 ./program
//
// oneDNN version 3 (libdnnl.so.3) is loaded when the first backend is made: from ONEDNN_LIBRARY if that is set, else from
// the system's library path, else from the user's cache, where `make setup` of the repository puts it; [Library] tells what
// is in use. Without it, and for what it does not know, convolutions and products of float32, bfloat16 and float16 run on
// kernels of this package, in float32: somewhat slower on vector units, much slower than matrix units. The option portable
// (GOMLX_BACKEND=onednn:portable) asks for that.
//
// # How a computation runs
//
// Operations are recorded as a graph. [compile] rewrites it in passes, each in a file pass_*.go that shows its before and
// after; [fuse] groups what is element-wise into clusters that go over memory once, with the sums over their results; [lower]
// turns the rest into oneDNN primitives, own products and strided copies and plans where intermediate results live. What native code does
// not cover (integers, sorting, scatter, control flow) runs node by node on GoMLX's Go backend.
//
// Execution is deterministic: the same inputs and number of threads give the same bits.
//
// ONEDNN_DUMP=1 prints the graph before and after each pass; [StartProfile] times every native operation.
package onednn
