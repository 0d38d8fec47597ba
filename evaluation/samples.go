package evaluation

import (
	"fmt"
	"math"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/weights"
)

// ReadSamples reads samples from a safetensors file: images [N,1,28,28] of floats in [0,1], where single values may lie
// outside as samples' do, and labels [N] of I32, the classes that were asked for, -1 for none; nil if no image has one.
func ReadSamples(path string, classes int) (diffusion.Images, []int, error) {
	f, err := weights.Open(path)
	if err != nil {
		return diffusion.Images{}, nil, err
	}
	defer f.Close()
	images, err := readImages(f)
	if err != nil {
		return diffusion.Images{}, nil, err
	}
	t, err := f.Tensor("labels")
	if err != nil {
		return diffusion.Images{}, nil, err
	}
	if len(t.Shape) != 1 || t.Shape[0] != images.N {
		return diffusion.Images{}, nil, fmt.Errorf(`%s: tensor "labels" has shape %v; want [%d], one for each image`,
			path, t.Shape, images.N)
	}
	values, err := t.Int32()
	if err != nil {
		return diffusion.Images{}, nil, fmt.Errorf(`%s: tensor "labels": %w`, path, err)
	}
	labels, any := make([]int, images.N), false
	for i, v := range values {
		if v < -1 || int(v) >= classes {
			return diffusion.Images{}, nil,
				fmt.Errorf(`%s: tensor "labels": image %d has class %d; want 0 to %d, or -1 for none`, path, i, v,
					classes-1)
		}
		labels[i] = int(v)
		any = any || v != -1
	}
	if !any {
		return images, nil, nil
	}
	return images, labels, nil
}

func readImages(f *weights.File) (diffusion.Images, error) {
	t, err := f.Tensor("images")
	if err != nil {
		return diffusion.Images{}, err
	}
	if len(t.Shape) != 4 || t.Shape[0] < 2 || t.Shape[1] != 1 || t.Shape[2] != size || t.Shape[3] != size {
		return diffusion.Images{}, fmt.Errorf(`%s: tensor "images" has shape %v; want [N,1,%d,%d] with N of at least 2`,
			f.Path(), t.Shape, size, size)
	}
	images := diffusion.Images{N: t.Shape[0], C: 1, H: size, W: size}
	if images.Data, err = t.Float32(); err != nil {
		return diffusion.Images{}, fmt.Errorf(`%s: tensor "images": %w`, f.Path(), err)
	}
	mean := 0.0
	for i, v := range images.Data {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return diffusion.Images{}, fmt.Errorf(
				`%s: tensor "images": image %d has a value that is %v; want finite numbers`, f.Path(), i/(size*size), v)
		}
		mean += float64(v) / float64(len(images.Data))
	}
	if mean < -0.2 || mean > 1.2 {
		return diffusion.Images{}, fmt.Errorf(
			`%s: tensor "images": its values have a mean of %.3g; want images in [0,1], black at 0`, f.Path(), mean)
	}
	return images, nil
}
