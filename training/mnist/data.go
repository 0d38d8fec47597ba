package mnist

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
)

// Embedded is what runs and reports call the digits that come with the program.
const Embedded = "MNIST"

// DataName is what runs and reports call images: [Embedded] for an empty path, or a folder by its whole path, so that
// it is found from elsewhere too.
func DataName(path string) (string, error) {
	if path == "" {
		return Embedded, nil
	}
	// a folder of that name goes first
	if info, err := os.Stat(path); path == Embedded && (err != nil || !info.IsDir()) {
		return Embedded, nil
	}
	return filepath.Abs(path)
}

// OpenData opens the images of a name that DataName gave.
func OpenData(name string) (train, test *dataset.Labeled, err error) {
	if name == Embedded {
		return dataset.MNIST()
	}
	train, test, err = dataset.Open(name)
	if err != nil {
		return nil, nil, err
	}
	if err := train.Check(mnistunet.Size, mnistunet.Size); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return train, test, nil
}

// OpenDataOf opens the images that a model was trained on, which must be the same still.
func OpenDataOf(model string, d training.Data) (train, test *dataset.Labeled, err error) {
	if train, test, err = OpenData(d.Name); err != nil {
		return nil, nil, fmt.Errorf("%s was trained on images that can't be opened any more: %w", model, err)
	}
	if head := train.Head(d.Images); head.Checksum() != d.Checksum {
		return nil, nil, fmt.Errorf("%s was trained on %d images with checksum %s, found %d with %s in %s",
			model, d.Images, d.Checksum, head.Len(), head.Checksum(), d.Name)
	}
	return train, test, nil
}
