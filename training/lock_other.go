//go:build !unix

package training

func lock(string) (unlock func(), err error) { return func() {}, nil }
