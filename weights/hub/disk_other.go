//go:build !unix

package hub

import "os"

func lock(*os.File) error { return nil }

func freeSpace(string) (int64, bool) { return 0, false }
