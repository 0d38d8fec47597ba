// Package memory tells how much memory there is, and how much the program has taken.
package memory

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/internal/cgroup"
)

// Read returns the machine's memory in bytes, in all and available to a new program, within the limits of a container.
// It returns zeros where the system doesn't say.
func Read() (total, available uint64) {
	total, available = procMemory("/proc/meminfo")
	if l := cgroup.Read(); l.Memory > 0 {
		total, available = min(total, l.Memory), min(available, l.Available)
	}
	return total, available
}

// Save has the garbage collector work before the memory that is available is used up. By its own measure it waits until
// there is as much garbage as there are weights.
func Save() {
	if _, available := Read(); available > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(available / 10 * 9))
	}
}

func procMemory(path string) (total, available uint64) {
	kilobytes := numbers(path) // such as "MemTotal: 32796 kB"
	return kilobytes["MemTotal:"] << 10, kilobytes["MemAvailable:"] << 10
}

// numbers reads a file of lines with a name and a number, and perhaps a unit.
func numbers(path string) map[string]uint64 {
	all := map[string]uint64{}
	f, err := os.Open(path)
	if err != nil {
		return all
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 {
			if v, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
				all[fields[0]] = v
			}
		}
	}
	return all
}
