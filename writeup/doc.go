// Package writeup makes pages that show what a run did: a folder with an index.html that needs nothing else, works from
// a file:// URL, offline, on a phone, by keyboard and in dark mode.
package writeup
