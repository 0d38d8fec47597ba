// Package figure draws what the rest of Unnoise computes: grids of images, animations of a trajectory and curves.
//
// Pictures are lossless PNG files that carry the parameters that made them in text chunks ([Parameters],
// [ReadParameters]); animations are animated PNG or GIF; curves are SVG. All files appear whole or not at all.
package figure
