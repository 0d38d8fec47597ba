package lab

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/unnoise/unnoise/diffusion"
)

// Share is a part of the work on candidates, which another process can do: some are drawn, or judged.
type Share struct {
	Request Request    `json:"request"`         // completed
	Seeds   []uint64   `json:"seeds,omitempty"` // of those that are drawn
	Until   int        `json:"until,omitempty"` // steps after which what they are estimated to become is enough; 0: all
	Images  Pixels     `json:"images"`          // that are noised again and drawn on, or judged; none: they begin as noise
	Judge   *Judgement `json:"judge,omitempty"` // nil: they are drawn
	At      int        `json:"at,omitempty"`    // the share's place among those of the same work
	Of      int        `json:"of,omitempty"`    // how many these are
}

// Judgement says how images of one group are judged on.
type Judgement struct {
	Group    int        `json:"group"`
	Round    int        `json:"round"` // of refinement
	From     int        `json:"from"`  // the first draw of noise
	To       int        `json:"to"`    // the one after the last
	Evidence []evidence `json:"evidence"`
}

// Shared is what came of a share: images that were drawn, or what was found of those that were judged.
type Shared struct {
	Images   Pixels     `json:"images"`
	Evidence []evidence `json:"evidence,omitempty"`
}

// Spread has shares done, perhaps by other processes, and returns what came of each. do does one here.
type Spread func(ctx context.Context, shares []Share, do func(Share) (Shared, error)) ([]Shared, error)

// shareImages is how many images a share has at most, or one of each group. All work on candidates is done in shares,
// also by one process alone: an image's last bits hang on how many are evaluated together.
var shareImages = 16

// Pixels are images in JSON, to the bit.
type Pixels struct{ diffusion.Images }

// MarshalJSON implements [json.Marshaler].
func (p Pixels) MarshalJSON() ([]byte, error) {
	data := make([]byte, 0, 4*len(p.Data))
	for _, v := range p.Data {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return json.Marshal(pixels{[4]int{p.N, p.C, p.H, p.W}, data})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *Pixels) UnmarshalJSON(text []byte) error {
	var of pixels
	if err := json.Unmarshal(text, &of); err != nil {
		return err
	}
	n := 1
	for _, side := range of.Shape {
		if side < 0 || side > 1<<16 || n*side > 1<<28 {
			return fmt.Errorf("images of the shape %v are too large", of.Shape)
		}
		n *= side
	}
	if len(of.Data) != 4*n {
		return fmt.Errorf("images of the shape %v have %d bytes, expected %d", of.Shape, len(of.Data), 4*n)
	}
	*p = Pixels{diffusion.Images{N: of.Shape[0], C: of.Shape[1], H: of.Shape[2], W: of.Shape[3]}}
	for part := range slices.Chunk(of.Data, 4) {
		p.Data = append(p.Data, math.Float32frombits(binary.LittleEndian.Uint32(part)))
	}
	return nil
}

type pixels struct {
	Shape [4]int `json:"shape"`
	Data  []byte `json:"data"` // float32, little-endian
}

// Do does a share of another process's drawing.
func (l *Lab) Do(ctx context.Context, s Share) (Shared, error) {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return Shared{}, context.Cause(ctx)
	}
	defer func() { l.turn <- struct{}{} }()
	d := drawing{lab: l, ctx: ctx, yield: func(Event, error) bool { return true }}
	var err error
	if d.plan, err = l.complete(s.Request); err != nil {
		return Shared{}, err
	}
	if d.Illusion == nil || len(d.variants) != 1 {
		return Shared{}, errors.New("a share of the work on candidates is of a request without them")
	}
	if err := d.encode(); err != nil {
		return Shared{}, err
	}
	if s.Judge == nil {
		return d.drawShare(d.first(&d.variants[0]), s)
	}
	return d.judgeShare(s)
}

// candidates draws candidates, each from its seed: from noise, or from images that are noised again.
func (d *drawing) candidates(s stage, seeds []uint64, from diffusion.Images) (x diffusion.Images, err error) {
	groups := s.variant.Illusion.Groups()
	size := (shareImages + groups - 1) / groups * groups
	var shares []Share
	for some := range slices.Chunk(seeds, size) {
		share := Share{Request: s.variant.Request, Seeds: some, Until: s.until, At: len(shares),
			Of: (len(seeds) + size - 1) / size}
		if from.N > 0 {
			share.Images = Pixels{from.Slice(share.At*size, share.At*size+len(some))}
		}
		shares = append(shares, share)
	}
	found, err := d.together(d.ctx, shares, func(share Share) (Shared, error) { return d.drawShare(s, share) })
	if err != nil {
		return x, err
	}
	var parts []diffusion.Images
	for _, one := range found {
		parts = append(parts, one.Images.Images)
	}
	return diffusion.Concat(parts...)
}

func (d *drawing) drawShare(s stage, share Share) (Shared, error) {
	s.images, s.until, s.share, s.shares = len(share.Seeds), share.Until, share.At, share.Of
	if share.Images.N > 0 {
		s = s.from(share.Images.Images)
	}
	generators := seeded(share.Seeds...)
	d.noise = generators
	x, err := d.draw(s)
	if d.drawn == nil {
		d.drawn = map[uint64]*diffusion.Generator{}
	}
	for k, seed := range share.Seeds {
		d.drawn[seed] = generators[k]
	}
	return Shared{Images: Pixels{x}}, err
}

// judgeTogether shares the judgement of a group.
func (d *drawing) judgeTogether(j Judge, how Judgement) gather {
	return func(ctx context.Context, s seen, all []evidence, which []int, from, to int) error {
		var shares []Share
		for some := range slices.Chunk(which, shareImages) {
			share := Share{Request: d.variants[d.at].Request, At: len(shares)}
			now := how
			now.From, now.To = from, to
			var images []diffusion.Images
			for _, n := range some {
				images, now.Evidence = append(images, s.Slice(n, n+1)), append(now.Evidence, all[n])
			}
			x, err := diffusion.Concat(images...)
			if err != nil {
				return err
			}
			share.Images, share.Judge = Pixels{x}, &now
			shares = append(shares, share)
		}
		found, err := d.together(ctx, shares, d.judgeShare)
		if err != nil {
			return err
		}
		for k, n := range which {
			all[n] = found[k/shareImages].Evidence[k%shareImages]
		}
		return nil
	}
}

func (d *drawing) judgeShare(share Share) (Shared, error) {
	m, err := d.lab.use(d.model)
	if err != nil {
		return Shared{}, err
	}
	how := share.Judge
	j, looks, err := d.judge(m, d.variants[d.at].Illusion, how.Group, how.Round)
	if err != nil {
		return Shared{}, err
	}
	j.Low, j.High = judgeLow, judgeHigh
	var which []int
	all := make([]evidence, share.Images.N)
	for n := range all {
		which = append(which, n)
		all[n] = how.Evidence[n].clone()
	}
	err = j.gather(d.ctx, see(share.Images.Images, looks), all, which, how.From, how.To, nil)
	return Shared{Evidence: all}, err
}

func (e evidence) clone() evidence {
	c := evidence{Fit: slices.Clone(e.Fit)}
	for _, gaps := range e.Gaps {
		c.Gaps = append(c.Gaps, slices.Clone(gaps))
	}
	return c
}

// together has shares done, one after the other where nothing else is said.
func (d *drawing) together(ctx context.Context, shares []Share, do func(Share) (Shared, error)) (all []Shared,
	err error) {
	if d.spread != nil && len(shares) > 1 {
		return d.spread(ctx, shares, do)
	}
	for _, share := range shares {
		one, err := do(share)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
