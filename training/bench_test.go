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
	c := tiny(mnistunet.Class)
	c.Batch = c.images.Len()
	c.Data = c.task().Data.Describe()
	all := newBatches(c.Config, c.task())
	var s Batch
	step := 0
	for b.Loop() {
		if err := all.fill(&s, step); err != nil {
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
	t, err := newTrainer(Options{Backend: backend}, tiny(mnistunet.Class).Config, mnistunet.Default(mnistunet.Class))
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
