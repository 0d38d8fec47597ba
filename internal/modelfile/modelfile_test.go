package modelfile

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

func TestBothPlaces(t *testing.T) {
	Embed(fstest.MapFS{"model/unet/config.json": {Data: []byte("{}")}})
	defer Embed(nil)
	disk := t.TempDir()
	if err := os.MkdirAll(filepath.Join(disk, "unet"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(disk, "unet", "config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir       string
		inProgram bool
	}{{disk, false}, {InProgram("model"), true}} {
		unet := filepath.Join(c.dir, "unet")
		if found := IsInProgram(unet); found != c.inProgram {
			t.Errorf("%s is in the program: %v, want %v", unet, found, c.inProgram)
		}
		data, err := ReadFile(filepath.Join(unet, "config.json"))
		if err != nil || string(data) != "{}" {
			t.Errorf("%s: read %q, %v", unet, data, err)
		}
		entries, err := ReadDir(unet)
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: %d entries, %v", unet, len(entries), err)
		}
		if info, err := Stat(unet); err != nil || !info.IsDir() {
			t.Errorf("%s: %v, %v", unet, info, err)
		}
		if _, err := ReadFile(filepath.Join(unet, "nothing")); !os.IsNotExist(err) {
			t.Errorf("%s: reading nothing: %v", unet, err)
		}
	}
}
