// Package deepfloyd runs DeepFloyd IF from the hub's model folders: stages of a cascade that each draw images by
// diffusion in pixels, the first from a text alone, the next from a text and the smaller image.
//
// The text-conditioned cascade with dynamic thresholding and noised small images is Imagen's (Saharia et al. 2022,
// arXiv:2205.11487).
package deepfloyd

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// Stage is one stage of a cascade: a UNet and the scheduler that walks with it.
type Stage struct {
	Dir       string
	Index     Index
	Config    unet.Config
	UNet      *unet.Model // nil before Load
	Scheduler *Scheduler
	Noising   *Scheduler // noises the small image of super-resolution; nil in a first stage
	// told how many bytes of the weights were read, of how many, by Load or the first step; may be nil
	Progress nn.Progress
	weights  *weights.File // which UNet reads
}

// OpenStage opens a stage's folder: model_index.json, unet, scheduler and, for super-resolution,
// image_noising_scheduler. The weights are those that [weights.OpenFolder] takes for the variant: here their headers
// are checked, and Load makes the network.
func OpenStage(dir, variant string) (*Stage, error) {
	s := &Stage{Dir: dir}
	var err error
	if s.Index, err = ReadIndex(dir); err != nil {
		return nil, err
	}
	if err := s.Index.check(true); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, hubfile.Index), err)
	}
	if s.Scheduler, err = openScheduler(dir, "scheduler", s.Index.Scheduler); err != nil {
		return nil, err
	}
	if s.Index.ImageNoisingScheduler != "" {
		if s.Noising, err = openScheduler(dir, "image_noising_scheduler", s.Index.ImageNoisingScheduler); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "unet", hubfile.Network)
	if s.Config, err = unet.ReadConfig(config); err != nil {
		return nil, err
	}
	if err := s.check(s.Config, s.Scheduler); err != nil {
		return nil, fmt.Errorf("%s: %w", config, err)
	}
	if s.weights, err = weights.OpenFolder(filepath.Join(dir, "unet"), variant); err != nil {
		return nil, err
	}
	if err := s.Config.Check(s.weights); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// as returns the folder's scheduler as one of another class; see [Scheduler.As].
func (s *Stage) as(class string) (*Scheduler, error) {
	other, err := s.Scheduler.As(class)
	if err == nil {
		err = s.check(s.Config, other)
	}
	if err != nil {
		return nil, fmt.Errorf("%s with a %s: %w", s.Dir, class, err)
	}
	return other, nil
}

func (s *Stage) checkAs(class string) error {
	_, err := s.as(class)
	return err
}

func openScheduler(dir, part string, class Part) (*Scheduler, error) {
	path := filepath.Join(dir, part, hubfile.Scheduler)
	s, err := readSchedule(path)
	if err != nil {
		return nil, err
	}
	if part == "image_noising_scheduler" && s.Check() != nil { // others add noise otherwise
		return nil, s.Check()
	}
	if s.Class() != string(class) {
		return nil, fmt.Errorf("%s: _class_name is %s, and %s says %s", path, s.Class(),
			filepath.Join(dir, hubfile.Index), class)
	}
	return s, nil
}

// Load makes the network, once. dtype is what the UNet computes in, Float32 or BFloat16.
func (s *Stage) Load(b compute.Backend, dtype dtypes.DType) (err error) {
	if s.UNet != nil || s.weights == nil {
		return errors.New("the stage's weights were read before, or the stage was closed")
	}
	if s.UNet, err = unet.New(b, s.Config, dtype, s.weights, s.Progress); err == nil {
		s.UNet.Of = s.Scheduler.Prediction()
	}
	return err
}

// check reports whether the network fits to the rest of the stage.
func (s *Stage) check(c unet.Config, scheduler *Scheduler) error {
	if s.Noising != nil && c.ClassEmbedType == nil {
		return errors.New("class_embed_type is null, expected timestep: the folder has an image_noising_scheduler, " +
			"and the network must be told the noise level")
	}
	if s.Noising != nil && c.InChannels%2 != 0 {
		return fmt.Errorf("in_channels is %d, expected an even number: images and the small ones beside them",
			c.InChannels)
	}
	if s.Noising == nil && c.ClassEmbedType != nil {
		return errors.New("class_embed_type is timestep, and the folder has no image_noising_scheduler: where would " +
			"the class label come from?")
	}
	channels := s.channels(c)
	if c.OutChannels != channels && c.OutChannels != 2*channels {
		return fmt.Errorf("out_channels is %d, expected %d, or %d with a learned variance", c.OutChannels, channels,
			2*channels)
	}
	if m, ok := scheduler.Method.(diffusion.DDPM); ok && m.Variance == diffusion.LearnedRange &&
		c.OutChannels != 2*channels {
		return fmt.Errorf("out_channels is %d, expected %d: the scheduler's variance_type is learned_range",
			c.OutChannels, 2*channels)
	}
	return checkSize(c)
}

// checkSize refuses a network that does not say which images it draws.
func checkSize(c unet.Config) error {
	factor := 1 << (len(c.BlockOutChannels) - 1)
	if s := c.SampleSize; s.H == 0 || s.W == 0 || s.H%factor != 0 || s.W%factor != 0 {
		return fmt.Errorf("sample_size is %d×%d, expected multiples of %d, which %d blocks can halve: the images' "+
			"height and width", s.H, s.W, factor, len(c.BlockOutChannels))
	}
	return nil
}

// channels is the number of channels of the images that the stage draws.
func (s *Stage) channels(c unet.Config) int {
	if s.Noising != nil {
		return c.InChannels / 2
	}
	return c.InChannels
}

// Close releases the stage's network and file.
func (s *Stage) Close() {
	if s.UNet != nil {
		s.UNet.Close()
		s.UNet = nil
		debug.FreeOSMemory() // as in [TextEncoder.Encode]
	}
	if s.weights != nil {
		s.weights.Close()
		s.weights = nil
	}
}

// Images returns n images of zeros in the size that the stage was trained for, to be filled with noise.
func (s *Stage) Images(n int) diffusion.Images {
	x := s.Shape(n)
	return diffusion.NewImages(x.N, x.C, x.H, x.W)
}

// Shape is that of Images(n), without their values.
func (s *Stage) Shape(n int) diffusion.Images {
	return diffusion.Images{N: n, C: s.channels(s.Config), H: s.Config.SampleSize.H, W: s.Config.SampleSize.W}
}

// Beside makes of small images in [-1,1] what a stage of super-resolution is told (a first stage is told a text alone):
// they are scaled up to the size of noise and noised with it to level, a timestep of the noising scheduler. More noise
// lets the stage invent more.
func (s *Stage) Beside(small, noise diffusion.Images, level int) (diffusion.Images, error) {
	if s.Noising == nil {
		return diffusion.Images{}, errors.New("the stage has no image_noising_scheduler: it draws from a text alone")
	}
	large, err := Upscale(small, noise.H, noise.W)
	if err != nil {
		return diffusion.Images{}, err
	}
	if large, err = s.Noising.Schedule.AddNoise(large, noise, level); err != nil {
		return diffusion.Images{}, fmt.Errorf("noising the small image to level %d: %w", level, err)
	}
	return large, nil
}

// Upscale is bilinear interpolation with aligned corners: the images' corner pixels stay the corners.
func Upscale(x diffusion.Images, height, width int) (diffusion.Images, error) {
	if x.H < 1 || x.W < 1 || height < 1 || width < 1 || len(x.Data) != x.N*x.Size() {
		return diffusion.Images{}, fmt.Errorf("can't scale images %s of %d values to %d×%d", x.Shape(), len(x.Data),
			height, width)
	}
	rows, columns := between(x.H, height), between(x.W, width)
	y := diffusion.NewImages(x.N, x.C, height, width)
	for plane := range x.N * x.C {
		from, to := x.Data[plane*x.H*x.W:], y.Data[plane*height*width:]
		for i, r := range rows {
			above, below := from[r.low*x.W:], from[r.high*x.W:]
			for j, c := range columns {
				top := (1-c.share)*above[c.low] + c.share*above[c.high]
				bottom := (1-c.share)*below[c.low] + c.share*below[c.high]
				to[i*width+j] = (1-r.share)*top + r.share*bottom
			}
		}
	}
	return y, nil
}

// point lies between two pixels; share is the higher one's.
type point struct {
	low, high int
	share     float32
}

// between returns the points of one axis of an image scaled from one number of pixels to another.
func between(from, to int) []point {
	step := float32(from-1) / float32(max(to-1, 1))
	points := make([]point, to)
	for i := range points {
		at := float32(i) * step
		low := min(int(at), from-1)
		points[i] = point{low, min(low+1, from-1), at - float32(low)}
	}
	return points
}
