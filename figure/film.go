package figure

import "github.com/unnoise/unnoise/diffusion"

// Frame is one moment of sampling, with values in [0,1].
type Frame struct {
	Caption string           // where it is, such as "t = 120"
	X       diffusion.Images // x_t
	X0      diffusion.Images // the estimate of x_0 at that moment; empty in all frames: not shown
}

// Kept reports whether a film of at most n frames shows moment i of those from 0 to last: each k-th, counted from the
// last, and the first.
func Kept(i, last, n int) bool {
	if n < 2 {
		return i == last
	}
	k := max((last+n-2)/(n-1), 1)
	return i == 0 || (last-i)%k == 0
}
