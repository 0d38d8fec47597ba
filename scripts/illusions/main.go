// Illusions measures how often illusions can be read as asked, by what takes no part in drawing or choosing: those of
// digits by a classifier, those of things by the pictures of the emoji set that are nearest. See docs/results.md. What
// was measured is kept in a file, and a run goes on where the last one was stopped.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/evaluation/captions"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

const (
	version  = 1
	digits   = "mnist-class"
	things   = "emoji"
	chosenOf = 16
)

// pairsOf are the pairs that are asked of a model, without articles.
var pairsOf = map[string][][2]string{
	digits: allPairs(),
	things: {
		{"fire", "old man"}, {"skull", "mountain"}, {"dog", "rocket"}, {"man with a hat", "wave"}, {"cat", "tree"},
		{"rabbit", "duck"}, {"penguin", "ghost"}, {"apple", "heart"}, {"house", "sailboat"}, {"owl", "cactus"},
		{"mushroom", "octopus"}, {"lion", "sunflower"}, {"crown", "tooth"}, {"frog", "car"}, {"robot", "snowman"},
		{"strawberry", "tulip"}, {"elephant", "teapot"}, {"panda", "clown"}, {"butterfly", "umbrella"}, {"pig", "bell"},
	},
}

// study is all that was measured.
type study struct {
	Version  int                 `json:"version"`
	Settings map[string]*setting `json:"settings"`
}

// setting is one way to draw and choose.
type setting struct {
	Request lab.Request `json:"request"` // as asked for; the prompts are the pairs'
	Commit  string      `json:"commit"`
	Units   []unit      `json:"units"`
}

// unit is a pair with as many candidates as one is chosen of, each from a seed of its own.
type unit struct {
	Pair   [2]string   `json:"pair"`
	Seeds  []uint64    `json:"seeds"`
	Scores []float64   `json:"scores,omitempty"` // that chose
	Read   [][2]string `json:"read"`             // what the classifier reads
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "illusions:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		out      = flag.String("out", "out/illusions.json", "file that keeps what is measured; a run goes on from it")
		of       = flag.String("model", digits, "what draws: "+digits+" or "+things)
		as       = flag.String("as", "identity,rotate_180", "two views or bands")
		rounds   = flag.Int("rounds", 4, fmt.Sprintf("rounds of %d seeds for each pair", chosenOf))
		pairs    = flag.Int("pairs", 9, "pairs that are drawn at once")
		sampling = flag.String("sampling", "{}", "sampler, steps, eta, guidance in JSON; empty: the defaults")
		how      = flag.String("illusion", "{}", "combine, repeats, judge, race, refine in JSON; empty: the defaults")
		choose   = flag.Bool("choose", true, "rank the candidates too; not: only draw and read them")
		threads  = flag.Int("threads", 0, "that compute; 0: one for each CPU")
		table    = flag.Bool("table", false, "only show what was measured")
	)
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("expected flags only, found %q", flag.Arg(0))
	}
	s, err := open(*out)
	if err != nil {
		return err
	}
	if !*table {
		r, name, err := request(*of, *as, *sampling, *how, *choose)
		if err != nil {
			return err
		}
		if s.Settings[name] == nil {
			s.Settings[name] = &setting{Request: r, Commit: build.Commit()}
		}
		if err := s.measure(ctx, s.Settings[name], *rounds, *pairs, *threads, func() error { return s.save(*out) }); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		s.Settings[name].report(name)
	}
	return nil
}

// open reads what was measured before.
func open(path string) (*study, error) {
	s := &study{Version: version, Settings: map[string]*setting{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.Version != version {
		return nil, fmt.Errorf("%s: expected version %d, found %d", path, version, s.Version)
	}
	return s, nil
}

func (s *study) save(path string) error {
	return atomicfile.Write(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(s) })
}

// request makes the request of a setting, without prompts, and a name that says how it is drawn.
func request(of, as, sampling, how string, choose bool) (r lab.Request, name string, err error) {
	if pairsOf[of] == nil {
		return r, "", fmt.Errorf("--model: expected %s or %s, found %q", digits, things, of)
	}
	r.Model, r.Illusion = of, &lab.Illusion{}
	for field, in := range map[string]struct {
		text string
		into any
	}{"sampling": {sampling, &r.Sampling}, "illusion": {how, r.Illusion}} {
		d := json.NewDecoder(strings.NewReader(in.text))
		d.DisallowUnknownFields()
		if err := d.Decode(in.into); err != nil {
			return r, "", fmt.Errorf("--%s: %w", field, err)
		}
	}
	names := strings.Split(as, ",")
	if len(names) != 2 {
		return r, "", fmt.Errorf("--as: expected two views or bands, found %q", as)
	}
	parts := []lab.Part{{As: names[0]}, {As: names[1]}}
	if r.Illusion.Views = parts; strings.Contains(as, "pass") {
		r.Illusion.Views, r.Illusion.Bands = nil, parts
	}
	if choose {
		r.Illusion.Candidates = chosenOf
	} else {
		r.Count = chosenOf
	}
	if of != digits {
		names = append([]string{of}, names...)
	}
	return r, strings.Join(append(names, sampling, how, strconv.FormatBool(choose)), " "), nil
}

// allPairs are those of different digits.
func allPairs() (all [][2]string) {
	for b := range 10 {
		for a := range b {
			all = append(all, [2]string{strconv.Itoa(a), strconv.Itoa(b)})
		}
	}
	return all
}

// measure draws what is lacking of some rounds of all pairs.
func (s *study) measure(ctx context.Context, of *setting, rounds, atOnce, threads int, save func() error) error {
	l := lab.New(lab.Options{Threads: threads})
	defer l.Close()
	read, done, err := reader(ctx, of.Request.Model, threads)
	if err != nil {
		return err
	}
	defer done()
	all := pairsOf[of.Request.Model]
	for round := range rounds {
		var lack [][2]string
		for _, pair := range all {
			if !slices.ContainsFunc(of.Units, func(u unit) bool { return u.Pair == pair && u.round() == round }) {
				lack = append(lack, pair)
			}
		}
		for pairs := range slices.Chunk(lack, atOnce) {
			units, err := draw(ctx, l, read, of.Request, pairs, round)
			if err != nil {
				return err
			}
			of.Units = append(of.Units, units...)
			if err := save(); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "round %d: %d of %d pairs\n", round+1, len(of.Units)-round*len(all),
				len(all))
		}
	}
	return nil
}

// seedsApart lie between the first seeds of two rounds; of them each pair has so many, for refined candidates too.
const (
	seedsApart  = 1_000_000
	seedsOfPair = 1000
)

func (u unit) round() int { return int(slices.Min(u.Seeds) / seedsApart) }

// reads says what images in [0,1] show, as one of some names.
type reads func(ctx context.Context, images diffusion.Images, names []string) ([]string, error)

// reader reads what a model draws.
func reader(ctx context.Context, of string, threads int) (reads, func(), error) {
	if of == things {
		dir, err := emoji.DefaultDir()
		if err != nil {
			return nil, nil, err
		}
		set, err := emoji.Open(dir)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: run 'unnoise dataset emoji'", err)
		}
		gallery, err := captions.NewGallery(set)
		return func(_ context.Context, images diffusion.Images, names []string) ([]string, error) {
			return gallery.Read(images, names)
		}, func() {}, err
	}
	c, err := classifier(ctx, threads)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, images diffusion.Images, _ []string) ([]string, error) {
		reading, err := c.Read(ctx, images)
		names := make([]string, len(reading.Classes))
		for i, class := range reading.Classes {
			names[i] = strconv.Itoa(class)
		}
		return names, err
	}, c.Close, nil
}

// classifier is the one that reads digits.
func classifier(ctx context.Context, threads int) (*evaluation.Classifier, error) {
	train, test, err := dataset.MNIST()
	if err != nil {
		return nil, err
	}
	b, _, err := engine.New(engine.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	path, err := evaluation.CachePath(train, test, 0)
	if err != nil {
		return nil, err
	}
	return evaluation.Open(ctx, b, path, train, test, 0, false, func(p evaluation.TrainProgress) {
		if p.Step%100 == 0 {
			fmt.Fprintf(os.Stderr, "training the classifier: step %d of %d\n", p.Step, p.Steps)
		}
	})
}

// draw draws the candidates of some pairs and reads them.
func draw(ctx context.Context, l *lab.Lab, read reads, r lab.Request, pairs [][2]string,
	round int) ([]unit, error) {
	i, all := *r.Illusion, pairsOf[r.Model]
	var names []string
	for _, pair := range all {
		names = append(names, pair[:]...)
	}
	for _, parts := range []*[]lab.Part{&i.Views, &i.Bands} {
		*parts = slices.Clone(*parts)
		for k := range *parts {
			for _, pair := range pairs {
				(*parts)[k].Prompts = append((*parts)[k].Prompts, prompt(r.Model, pair[k]))
			}
		}
	}
	// Each candidate has a seed of its own, and no two pairs the same; without candidates one seed makes all noise.
	seed := uint64(round*seedsApart + slices.Index(all, pairs[0])*seedsOfPair)
	r.Illusion, r.Seed = &i, &seed
	result, err := lab.Run(l.Draw(ctx, r), nil)
	if err != nil {
		return nil, err
	}
	images := result.Images
	if result.Ranking != nil {
		images = result.Ranking.Images
	}
	units := make([]unit, len(pairs))
	for g, pair := range pairs {
		u := &units[g]
		u.Pair, u.Read = pair, make([][2]string, images.N/len(pairs))
		for n := range u.Read {
			if result.Ranking != nil {
				v := result.Ranking.Verdicts[g][n]
				u.Seeds, u.Scores = append(u.Seeds, v.Seed), append(u.Scores, v.Score)
			} else {
				u.Seeds = append(u.Seeds, seed)
			}
		}
		looks, err := i.Looks(result.Spec, g)
		if err != nil {
			return nil, err
		}
		for k, look := range looks {
			seen, err := read(ctx, result.Range.To(model.ZeroToOne, look.See(images)), names)
			if err != nil {
				return nil, err
			}
			for n := range u.Read {
				u.Read[n][k] = seen[n*len(pairs)+g]
			}
		}
	}
	return units, nil
}

// prompt asks a model for a thing.
func prompt(of, name string) string {
	switch {
	case of == digits || name == "fire":
		return name
	case strings.ContainsAny(name[:1], "aeiou"):
		return "an " + name
	}
	return "a " + name
}

// report shows a row: the share of units whose random, chosen and best candidate is read as asked.
func (s *setting) report(name string) {
	byPair := map[[2]string][][3]float64{} // of each unit: random, chosen, best
	chosen := true
	for _, u := range s.Units {
		var of [3]float64
		for n, read := range u.Read {
			if read == u.Pair {
				of[0] += 1 / float64(len(u.Read))
				of[2] = 1
				if n == 0 {
					of[1] = 1
				}
			}
		}
		chosen = chosen && len(u.Scores) > 0
		byPair[u.Pair] = append(byPair[u.Pair], of)
	}
	fmt.Printf("%s: commit %s, %d pairs, %d units of %d\n", name, s.Commit, len(byPair), len(s.Units), chosenOf)
	for k, what := range []string{"random", "chosen", "best"} {
		if k == 1 && !chosen {
			continue
		}
		var means []float64
		for _, pair := range pairsOf[s.Request.Model] {
			if units := byPair[pair]; len(units) > 0 {
				sum := 0.0
				for _, of := range units {
					sum += of[k]
				}
				means = append(means, sum/float64(len(units)))
			}
		}
		mean, low, high := interval(means)
		fmt.Printf("  %-6s %5.1f %% (%.1f to %.1f)\n", what, 100*mean, 100*low, 100*high)
	}
}

// interval returns the mean of values and its 95 % interval, from 10,000 bootstrap samples of them.
func interval(values []float64) (mean, low, high float64) {
	random := rand.New(rand.NewPCG(1, 2))
	means := make([]float64, 10_000)
	for i := range means {
		for range values {
			means[i] += values[random.IntN(len(values))] / float64(len(values))
		}
	}
	slices.SortFunc(means, cmp.Compare[float64])
	for _, v := range values {
		mean += v / float64(len(values))
	}
	return mean, means[len(means)/40], means[len(means)-1-len(means)/40]
}
