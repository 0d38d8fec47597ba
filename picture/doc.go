// Package picture brings people's pictures into the form that models take: it reads image files, cuts and scales them,
// and makes masks of them.
package picture
