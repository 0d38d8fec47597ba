package onednn

// LimitISA makes the CPU appear to have no more than portable C (0), AVX2 (1) or AVX-512 (2), for what is compiled
// later.
var LimitISA = limitISA
