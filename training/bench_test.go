package training

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
)

// What a step needs besides the network: see mnistunet's BenchmarkStep for that.

func BenchmarkBatch(b *testing.B) {
	o, err := options(nil)
	if err != nil {
		b.Fatal(err)
	}
	c := Default(mnistunet.Class)
	c.Batch = o.Data.Len()
	all, err := newBatches(c, o.Data)
	if err != nil {
		b.Fatal(err)
	}
	s := all.newScratch()
	step := 0
	for b.Loop() {
		if err := all.fill(s, step); err != nil {
			b.Fatal(err)
		}
		step++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.Batch), "ns/image")
}

func BenchmarkCheckpoint(b *testing.B) {
	backend, _, err := engine.New(engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Finalize()
	t, err := newTrainer(backend, Default(mnistunet.Class))
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	dir := b.TempDir()
	if err := makeSubfolders(dir); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := saveCheckpoint(dir, t, counters{}); err != nil {
			b.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, checkpointsDir, latestFile))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
}
