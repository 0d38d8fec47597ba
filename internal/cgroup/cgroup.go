// Package cgroup tells what the groups that Linux puts a process in, as containers are, leave to it: versions 1 and 2,
// and groups within groups. See cgroups(7).
package cgroup

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Limits are what a process may use; the zero value of each field means that there is no limit.
type Limits struct {
	CPUs      float64 // such as 1.5
	Memory    uint64  // in bytes
	Available uint64  // of the memory, in bytes; 0 with a Memory above 0: none
}

// Read returns the limits of this process. What can't be read is no limit.
func Read() Limits { return read("/") }

// read is Read with the system's files below root.
func read(root string) Limits {
	var l Limits
	for _, dir := range groups(root, "cpu") {
		if n := cpus(dir); n > 0 && (l.CPUs == 0 || n < l.CPUs) {
			l.CPUs = n
		}
	}
	for _, dir := range groups(root, "memory") {
		limit, used, ok := memory(dir)
		if !ok {
			continue
		}
		free := limit - min(used, limit)
		if l.Memory == 0 {
			l.Memory, l.Available = limit, free
		}
		l.Memory, l.Available = min(l.Memory, limit), min(l.Available, free)
	}
	return l
}

// groups lists the folders of the process's group and of those around it, for a controller of version 1, and of version
// 2.
func groups(root, controller string) []string {
	path := map[string]string{} // by controller; version 2 has the name ""
	for _, line := range lines(filepath.Join(root, "proc/self/cgroup")) {
		// such as 4:memory:/docker/1 or 0::/user.slice
		if parts := strings.SplitN(line, ":", 3); len(parts) == 3 {
			for _, name := range strings.Split(parts[1], ",") {
				path[name] = parts[2]
			}
		}
	}
	var found []string
	for _, line := range lines(filepath.Join(root, "proc/self/mountinfo")) {
		// such as 35 31 0:32 /docker/1 /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
		before, after, _ := strings.Cut(line, " - ")
		mount, kind := strings.Fields(before), strings.Fields(after)
		if len(mount) < 5 || len(kind) < 3 {
			continue
		}
		var own string
		switch {
		case kind[0] == "cgroup2":
			own = path[""]
		case kind[0] == "cgroup" && slices.Contains(strings.Split(kind[2], ","), controller):
			own = path[controller]
		default:
			continue
		}
		// What is mounted may be a group itself. One outside of what is mounted, which begins with .., is not seen.
		top := filepath.Join(root, mount[4])
		dir := top
		if rest, ok := strings.CutPrefix(own, strings.TrimSuffix(mount[3], "/")); ok && !strings.Contains(rest, "..") {
			dir = filepath.Join(top, rest)
		}
		for ; len(dir) > len(top); dir = filepath.Dir(dir) {
			found = append(found, dir)
		}
		found = append(found, top)
	}
	return found
}

// cpus is a group's own limit, or 0.
func cpus(dir string) float64 {
	var quota, period string
	if both := strings.Fields(text(dir, "cpu.max")); len(both) == 2 {
		quota, period = both[0], both[1]
	} else {
		quota, period = text(dir, "cpu.cfs_quota_us"), text(dir, "cpu.cfs_period_us")
	}
	q, err := strconv.ParseFloat(quota, 64) // no limit: "max" or -1
	p, perr := strconv.ParseFloat(period, 64)
	if err != nil || perr != nil || q <= 0 || p <= 0 {
		return 0
	}
	return q / p
}

// memory is a group's own limit, and what it uses of it, without the files that it gives up where memory is needed.
func memory(dir string) (limit, used uint64, ok bool) {
	of := func(names ...string) (v uint64, ok bool) {
		for _, name := range names {
			if v, err := strconv.ParseUint(text(dir, name), 10, 64); err == nil {
				return v, true
			}
		}
		return 0, false
	}
	limit, ok = of("memory.max", "memory.limit_in_bytes")
	if !ok || limit >= math.MaxInt64/4096*4096 { // what version 1 writes for none
		return 0, 0, false
	}
	used, _ = of("memory.current", "memory.usage_in_bytes")
	stat := map[string]uint64{}
	for _, line := range lines(filepath.Join(dir, "memory.stat")) {
		if name, value, found := strings.Cut(line, " "); found {
			stat[name], _ = strconv.ParseUint(value, 10, 64)
		}
	}
	files := stat["inactive_file"] + stat["active_file"]
	if all, version1 := stat["total_inactive_file"]; version1 { // with the groups within
		files = all + stat["total_active_file"]
	}
	return limit, used - min(files, used), true
}

func text(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}

func lines(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var all []string
	for scan := bufio.NewScanner(f); scan.Scan(); {
		all = append(all, scan.Text())
	}
	return all
}
