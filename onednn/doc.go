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
// oneDNN version 3 (libdnnl.so.3) is loaded when the first backend is made: from ONEDNN_LIBRARY if that is set, else
// from the system's library path, else from the user's cache, where `make setup` of the repository puts it. Without it
// convolutions and products run on kernels of this package; [Library] tells what is in use. [Options] lists the
// settings, which can also stand behind the name: onednn:threads=4,portable.
//
// # How a computation runs
//
// The packages below onednn/internal need no C, and data flow through them in this order. graph records operations.
// passes rewrites the graph; each file shows what it changes, before and after. cluster groups what is element-wise,
// with the sums over its results, so that it goes over memory once. jit writes machine code of clusters, where the CPU
// has AVX-512 or AVX2; elsewhere they are interpreted. This package, the only one with C, turns the rest into
// convolutions, products, reductions and strided copies ([lower]), plans where intermediate results live, and runs it
// all. What native code does not cover (integers, sorting, scatter, control flow) runs node by node on GoMLX's Go
// backend.
//
// Work on weights that depends on parameters alone is not repeated for buffers that are frozen; see [Buffer.Freeze].
//
// Execution is deterministic: the same inputs and number of threads give the same bits. Executions take turns, and may
// be asked for from any goroutine.
//
// # Seeing what happens
//
// ONEDNN_DUMP=1 prints the graph before and after each pass, and the lowered program. [StartProfile] times every native
// operation. ONEDNN_MAX_CPU_ISA=AVX2, for one, limits the instruction set of oneDNN and of the package's own kernels.
// [Options].Without leaves optimizations out. The repository's docs/performance.md tells what each of them earns.
package onednn
