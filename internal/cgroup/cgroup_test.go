package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

// system writes files below a folder and returns it.
func system(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRead(t *testing.T) {
	const (
		v1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
			"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n36 31 0:33 / /sys/fs/cgroup/cpuset rw " +
			"- cgroup cgroup rw,cpuset"
		v2   = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
		none = "9223372036854771712"
	)
	for name, c := range map[string]struct {
		files map[string]string
		want  Limits
	}{
		"nothing": {map[string]string{}, Limits{}},
		"no limits, version 1": {map[string]string{
			"proc/self/cgroup": "4:memory:/a\n2:cpu,cpuacct:/a", "proc/self/mountinfo": v1,
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": none, "sys/fs/cgroup/memory/memory.limit_in_bytes": none,
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us":  "-1",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
		}, Limits{}},
		"version 1": {map[string]string{
			"proc/self/cgroup": "4:memory:/a/b\n2:cpu,cpuacct:/a", "proc/self/mountinfo": v1,
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": none,
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes":   "1000",
			"sys/fs/cgroup/memory/a/memory.usage_in_bytes":   "700",
			"sys/fs/cgroup/memory/a/memory.stat":             "inactive_file 1\ntotal_inactive_file 150\ntotal_active_file 50",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us":   "50000",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us":  "100000",
		}, Limits{0.5, 1000, 500}},
		"a container, version 1": {map[string]string{
			"proc/self/cgroup":                           "4:memory:/docker/1",
			"proc/self/mountinfo":                        "35 31 0:32 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1000", "sys/fs/cgroup/memory/memory.usage_in_bytes": "100",
		}, Limits{0, 1000, 900}},
		"version 2": {map[string]string{
			"proc/self/cgroup": "0::/user.slice/a.scope", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/user.slice/a.scope/memory.max": "max",
			"sys/fs/cgroup/user.slice/a.scope/cpu.max":    "max 100000",
			"sys/fs/cgroup/user.slice/memory.max":         "1000", "sys/fs/cgroup/user.slice/memory.current": "700",
			"sys/fs/cgroup/user.slice/memory.stat": "anon 500\ninactive_file 150\nactive_file 50",
			"sys/fs/cgroup/user.slice/cpu.max":     "150000 100000",
		}, Limits{1.5, 1000, 500}},
		"two limits": {map[string]string{
			"proc/self/cgroup": "0::/a/b", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/b/memory.max": "1000", "sys/fs/cgroup/a/b/memory.current": "100",
			"sys/fs/cgroup/a/b/cpu.max":  "200000 100000",
			"sys/fs/cgroup/a/memory.max": "3000", "sys/fs/cgroup/a/memory.current": "2900",
			"sys/fs/cgroup/a/cpu.max": "100000 100000",
		}, Limits{1, 1000, 100}},
		"a container, version 2": {map[string]string{
			"proc/self/cgroup": "0::/", "proc/self/mountinfo": v2, "sys/fs/cgroup/memory.max": "1000",
			"sys/fs/cgroup/memory.current": "2000",
		}, Limits{0, 1000, 0}},
		"both versions": {map[string]string{
			"proc/self/cgroup": "4:memory:/a\n2:cpu,cpuacct:/\n0::/", "proc/self/mountinfo": v1 +
				"\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000",
		}, Limits{0, 1000, 1000}},
		"a group that is not seen": {map[string]string{
			"proc/self/cgroup": "0::/../b", "proc/self/mountinfo": v2, "sys/fs/cgroup/memory.max": "1000",
			"b/memory.max": "1",
		}, Limits{0, 1000, 1000}},
	} {
		if got := read(system(t, c.files)); got != c.want {
			t.Errorf("%s: expected %+v, found %+v", name, c.want, got)
		}
	}
}
