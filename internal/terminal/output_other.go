//go:build !linux

package terminal

func keepOutput() {} // there are no libraries that print
