package memory

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRead(t *testing.T) {
	total, available := Read()
	if total == 0 || available == 0 || available > total {
		t.Errorf("%d bytes, %d of them available", total, available)
	}
	if peak := Peak(); peak <= 1<<20 || uint64(peak) > total {
		t.Errorf("the process has held %d bytes", peak)
	}
}

func TestNumbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meminfo")
	text := "MemTotal:       32796 kB\nMemAvailable:   1000 kB\nHugePages_Total: x\n\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if total, available := procMemory(path); total != 32796<<10 || available != 1000<<10 {
		t.Errorf("%d bytes, %d of them available", total, available)
	}
	if total, _ := procMemory(path + "none"); total != 0 {
		t.Errorf("of no file: %d", total)
	}
}
