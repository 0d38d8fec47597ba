// Package onednn is a GoMLX compute backend for CPUs, on oneDNN and kernels of its own.
package onednn
