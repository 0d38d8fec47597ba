// Package illusion holds what optical illusions are made of: views, under which one picture is to show several things
// (Visual Anagrams, arXiv:2311.17919), and bands, the components into which a picture is taken apart (Factorized
// Diffusion, arXiv:2404.11615). It works on values on the host and knows no model.
//
// Views and bands have names, which [ParseView] and [ParseBand] read and [Views] and [Bands] list. They know no size
// either: the same view acts on a picture of 64 pixels a side and on its enlargement to 256, so that a
// super-resolution stage follows the stage before it.
package illusion
