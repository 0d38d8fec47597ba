// Package course shows what a model can do, in the order of a university course on diffusion: it says what is drawn,
// draws it through a lab, and tells of it. It makes the first half of the write-up, and the page of the demo.
package course
