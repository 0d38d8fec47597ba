// Package evaluation measures what models draw: a classifier that is trained here reads the digits, and its features
// tell how far their distribution is from the test set's. Denoisers of one noise level are measured by their mean
// squared error.
package evaluation
