package terminal

import "os"

// KeepOutput keeps what libraries print out of the program's own output, where one of these environment variables asks
// for it: they print to the process's standard output, which becomes standard error.
func KeepOutput(variables ...string) {
	for _, name := range variables {
		if value := os.Getenv(name); value != "" && value != "0" {
			keepOutput()
			return
		}
	}
}
