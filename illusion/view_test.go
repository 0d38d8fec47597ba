package illusion

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

func noise(seed uint64, n, c, h, w int) diffusion.Images {
	m := diffusion.NewImages(n, c, h, w)
	diffusion.NewGenerator(seed).Normal(m.Data)
	return m
}

func dot(a, b diffusion.Images) float64 {
	sum := 0.0
	for i := range a.Data {
		sum += float64(a.Data[i]) * float64(b.Data[i])
	}
	return sum
}

func view(t *testing.T, text string) View {
	t.Helper()
	v, err := ParseView(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// names are the registry's views, with other parameters too.
func names() []string {
	all := []string{"rotate_180+negate", "patch_permute:7,3+flip", "jigsaw:5", "jigsaw:77", "inner_circle:90",
		"inner_circle:270", "patch_permute:2,1", "pixel_permute:3,14"}
	for _, k := range Views() {
		all = append(all, k.Name)
	}
	return all
}

func TestViewsAreIsometries(t *testing.T) {
	tested := map[string]int{}
	for _, size := range [][2]int{{28, 28}, {32, 32}, {64, 64}, {128, 128}, {256, 256}, {64, 96}, {5, 5}} {
		x, y := noise(1, 2, 3, size[0], size[1]), noise(2, 2, 3, size[0], size[1])
		for _, name := range names() {
			v := view(t, name)
			if Fits(v, 3, size[0], size[1]) != nil {
				continue
			}
			tested[name]++
			before := x.Clone()
			vx, vy := v.Apply(x), v.Apply(y)
			if !slices.Equal(x.Data, before.Data) {
				t.Errorf("%s changes what it is given", name)
			}
			if got := v.Invert(vx); !slices.Equal(got.Data, x.Data) {
				t.Errorf("%s at %d: Invert(Apply(x)) is not x", name, size)
			}
			if got := v.Apply(v.Invert(y)); !slices.Equal(got.Data, y.Data) {
				t.Errorf("%s at %d: Apply(Invert(y)) is not y", name, size)
			}
			if got, want := dot(vx, vx), dot(x, x); math.Abs(got/want-1) > 1e-12 {
				t.Errorf("%s at %d: |Ax|² = %g, |x|² = %g", name, size, got, want)
			}
			if got, want := dot(vx, vy), dot(x, y); math.Abs(got-want) > 1e-9*dot(x, x) {
				t.Errorf("%s at %d: ⟨Ax,Ay⟩ = %g, ⟨x,y⟩ = %g", name, size, got, want)
			}
			if got := places(v).Invert(places(v).Apply(x)); !slices.Equal(got.Data, x.Data) {
				t.Errorf("%s at %d: the change of places is not invertible", name, size)
			}
			if name != "identity" && slices.Equal(vx.Data, x.Data) {
				t.Errorf("%s at %d changes nothing", name, size)
			}
		}
	}
	for _, name := range names() {
		least := 4
		if strings.Contains(name, "7,3") || strings.Contains(name, "3,14") {
			least = 1 // 7 and 14 divide 28 only
		}
		if tested[name] < least {
			t.Errorf("%s fits %d of the sizes only", name, tested[name])
		}
	}
}

// The definitions, pixel by pixel: value(y, x) of what is seen.
func TestViewsAreWhatTheyAreCalled(t *testing.T) {
	const n = 32
	x := noise(3, 1, 1, n, n)
	at := func(y, c int) float32 { return x.Data[mod(y, n)*n+c] }
	perm := diffusion.NewGenerator(7).Perm(16)
	square := func(y, c int) (top, left, k int) { // of the hinge
		return y / 10 * 10, c / 10 * 10, (y/10 + c/10) % 2
	}
	for name, want := range map[string]func(y, c int) float32{
		"identity":     at,
		"flip":         func(y, c int) float32 { return at(n-1-y, c) },
		"mirror":       func(y, c int) float32 { return at(y, n-1-c) },
		"rotate_ccw":   func(y, c int) float32 { return at(c, n-1-y) }, // numpy's rot90
		"rotate_cw":    func(y, c int) float32 { return at(n-1-c, y) },
		"rotate_180":   func(y, c int) float32 { return at(n-1-y, n-1-c) },
		"negate":       func(y, c int) float32 { return -at(y, c) },
		"flip+negate":  func(y, c int) float32 { return -at(n-1-y, c) },
		"skew":         func(y, c int) float32 { return at(y-int(1.5*float64(c-n/2)), c) }, // torch.roll
		"patch_flip":   func(y, c int) float32 { return at(y/8*8+7-y%8, c) },
		"patch_mirror": func(y, c int) float32 { return at(y, c/8*8+7-c%8) },
		"patch_rotate": func(y, c int) float32 { return at(y/8*8+7-y%8, c/8*8+7-c%8) },
		"patch_permute:4,7": func(y, c int) float32 {
			from := perm[y/8*4+c/8]
			return at(from/4*8+y%8, from%4*8+c%8)
		},
		"inner_circle": func(y, c int) float32 {
			if math.Hypot(float64(y)-15.5, float64(c)-15.5) < 12 {
				return at(n-1-y, n-1-c)
			}
			return at(y, c)
		},
		"square_hinge": func(y, c int) float32 {
			if y >= 30 || c >= 30 {
				return at(y, c)
			}
			top, left, k := square(y, c)
			if k == 0 { // clockwise
				return at(top+9-(c-left), left+y-top)
			}
			return at(top+c-left, left+9-(y-top))
		},
	} {
		got := view(t, name).Apply(x)
		for i := range got.Data {
			if w := want(i/n, i%n); got.Data[i] != w {
				t.Errorf("%s: row %d, column %d: got %g, want %g", name, i/n, i%n, got.Data[i], w)
				break
			}
		}
	}
}

// Every piece of a kind fits into each place of its kind, so that any order is a puzzle without gaps.
func TestJigsaw(t *testing.T) {
	for _, n := range []int{4, 28, 32, 64, 256} {
		for seed := range 20 {
			p := view(t, fmt.Sprintf("jigsaw:%d", seed)).(*permutation)
			cut := p.cut(n, n)
			table := p.table(diffusion.NewImages(1, 1, n, n))
			landed := make([]int, 16) // the piece that lies in a place
			for i := range landed {
				landed[i] = -1
			}
			seen := make([]bool, n*n)
			for i, to := range table {
				if seen[to] {
					t.Fatalf("side %d, seed %d: two pixels go to the same place", n, seed)
				}
				seen[to] = true
				piece, place := cut.of[i], cut.of[to]
				if landed[place] >= 0 && landed[place] != piece {
					t.Fatalf("side %d, seed %d: two pieces lie in place %d", n, seed, place)
				}
				landed[place] = piece
			}
			if len(slices.Compact(slices.Sorted(slices.Values(landed)))) != 16 || slices.Contains(landed, -1) {
				t.Fatalf("side %d, seed %d: places hold the pieces %d", n, seed, landed)
			}
		}
	}
	cut := view(t, "jigsaw").(*permutation).cut(64, 64)
	straight := grid(64, 64, 4)
	if slices.Equal(cut.of, straight.of) {
		t.Error("the pieces have no tabs")
	}
}

// A view of a picture enlarged is the enlarged view, to within a few of the small pixels.
func TestViewsKnowNoSize(t *testing.T) {
	const small, factor = 64, 4
	place := diffusion.NewImages(1, 2, small, small) // a pixel's row and column
	for i := range small * small {
		place.Data[i], place.Data[small*small+i] = float32(i/small), float32(i%small)
	}
	exact := []string{"identity", "flip", "mirror", "rotate", "negate", "patch", "pixel"}
	for _, k := range Views() {
		v := view(t, k.Name)
		got, want := v.Apply(enlarge(place, factor)), enlarge(v.Apply(place), factor)
		apart := 0
		for i := range got.Data {
			d := math.Abs(float64(got.Data[i] - want.Data[i]))
			if d > 3 && d < small-4 { // skew goes around
				apart++
			}
		}
		if slices.Contains([]string{"jigsaw", "inner_circle", "square_hinge"}, k.Name) {
			if share := float64(apart) / float64(len(got.Data)); share > 0.03 { // pixels on outlines
				t.Errorf("%s: %.1f%% of the pixels are elsewhere at 256", k.Name, 100*share)
			}
			continue
		}
		if apart > 0 {
			t.Errorf("%s: %d pixels are elsewhere at 256", k.Name, apart)
		}
		for _, e := range exact {
			if strings.HasPrefix(k.Name, e) && !slices.Equal(got.Data, want.Data) {
				t.Errorf("%s at 256 is not that at 64, enlarged", k.Name)
			}
		}
	}
}

func enlarge(m diffusion.Images, factor int) diffusion.Images {
	out := diffusion.NewImages(m.N, m.C, m.H*factor, m.W*factor)
	for i := range out.Data {
		plane, y, x := i/(out.H*out.W), i/out.W%out.H, i%out.W
		out.Data[i] = m.Data[plane*m.H*m.W+y/factor*m.W+x/factor]
	}
	return out
}

func TestFits(t *testing.T) {
	for text, h := range map[string]int{
		"rotate_cw": 0, "jigsaw": 30, "patch_permute:8": 28, "square_hinge": 5, "flip+patch_flip:3": 64,
	} {
		w := h
		if h == 0 {
			h, w = 64, 96
		}
		err := Fits(view(t, text), 1, h, w)
		if err == nil || !strings.Contains(err.Error(), "found") {
			t.Errorf("%s at %d×%d: %v", text, w, h, err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s at %d×%d acts", text, w, h)
				}
			}()
			view(t, text).Apply(diffusion.NewImages(1, 1, h, w))
		}()
	}
	if err := Fits(view(t, "patch_permute:8"), 1, 28, 28); !strings.Contains(err.Error(), "2, 4, 7, 14") {
		t.Errorf("no way out is told: %v", err)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"flip": "flip", " patch_permute ": "patch_permute:4,0", "patch_permute:8": "patch_permute:8,0",
		"patch_permute: 8 , 4294967295": "patch_permute:8,4294967295",
		"jigsaw:7":                      "jigsaw:7", "inner_circle:90": "inner_circle:90",
		"rotate_180+negate": "rotate_180+negate",
	} {
		v, err := ParseView(text)
		if err != nil || fmt.Sprint(v) != want {
			t.Errorf("%q: %v, %v, want %s", text, v, err, want)
			continue
		}
		if again := view(t, fmt.Sprint(v)); fmt.Sprint(again) != want {
			t.Errorf("%q is read back as %v", want, again)
		}
	}
	for _, k := range Bands() {
		b, err := ParseBand(k.Name)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseBand(fmt.Sprint(b)); err != nil || fmt.Sprint(again) != fmt.Sprint(b) {
			t.Errorf("%v is read back as %v, %v", b, again, err)
		}
	}
	if b, err := ParseBand("triple_low_pass:1,3"); err != nil || fmt.Sprint(b) != "low:1,3" {
		t.Errorf("%v, %v", b, err)
	}
	for text, want := range map[string]string{
		"": "unknown", "flipp": "flip,", "flip:2": "at most 0", "patch_permute:0": "from 1 to 1024",
		"patch_permute:2.5": "an integer", "patch_permute:NaN": "an integer", "jigsaw:-1": "seed",
		"inner_circle:45": "multiple of 90", "flip+": "unknown", "patch_permute:4,5,6": "patches,seed",
		"patch_permute:": `""`,
	} {
		if _, err := ParseView(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want it to tell of %s", text, err, want)
		}
	}
}
