package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

func keepOutput() {
	own, err := unix.Dup(1)
	if err != nil {
		return
	}
	unix.CloseOnExec(own)
	if err := unix.Dup3(2, 1, 0); err == nil {
		libraries = os.Stdout
		os.Stdout = os.NewFile(uintptr(own), "/dev/stdout")
	}
}

// libraries is what libraries print to. It is kept, since a file that is forgotten is closed.
var libraries *os.File
