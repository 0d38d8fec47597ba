package pth

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/weights"
)

func read(t *testing.T, name string) *File {
	t.Helper()
	f, err := Read(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// values returns a tensor's elements as numbers.
func values(t *testing.T, x weights.Tensor) (v []float64) {
	t.Helper()
	if slices.Contains(floats, x.DType) {
		f, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range f {
			v = append(v, float64(x))
		}
		return v
	}
	size := x.DType.Size()
	for element := range slices.Chunk(x.Data, size) {
		bits := binary.LittleEndian.Uint64(append(slices.Clone(element), make([]byte, 8-size)...))
		v = append(v, float64(int64(bits<<(64-8*size))>>(64-8*size)))
	}
	return v
}

// What torch.save wrote, by testdata/record.py.
func TestContainers(t *testing.T) {
	f := read(t, "containers.pth")
	for name, want := range map[string]weights.DType{"float32": weights.F32, "float64": weights.F64,
		"float16": weights.F16, "bfloat16": weights.BF16, "int64": weights.I64,
		"int32": weights.I32, "int16": weights.I16, "int8": weights.I8, "uint8": weights.U8, "bool": weights.BOOL} {
		x, err := f.Tensor(`["kinds"]["` + name + `"]`)
		numbers := []float64{0, 1, 2, 3, 4, 5}
		if name == "bool" {
			numbers = []float64{0, 1, 1, 1, 1, 1}
		}
		if err != nil || x.DType != want || !slices.Equal(x.Shape, []int{2, 3}) ||
			!slices.Equal(values(t, x), numbers) {
			t.Errorf("%s: %s %v %v, %v", name, x.DType, x.Shape, x.Data, err)
		}
	}
	for name, want := range map[string]struct {
		shape  []int
		values []float64
	}{
		"transposed": {[]int{4, 2, 3}, []float64{0, 4, 8, 12, 16, 20, 1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22, 3, 7,
			11, 15, 19, 23}},
		"step":     {[]int{3}, []float64{1, 4, 7}},
		"tail":     {[]int{3}, []float64{7, 8, 9}},
		"expanded": {[]int{3, 2}, []float64{1.5, -2, 1.5, -2, 1.5, -2}},
		"scalar":   {nil, []float64{7}},
		"empty":    {[]int{0, 4}, nil},
	} {
		x, err := f.Tensor(`["views"]["` + name + `"]`)
		if err != nil || !slices.Equal(x.Shape, want.shape) || !slices.Equal(values(t, x), want.values) {
			t.Errorf("%s: %v %v, %v", name, x.Shape, values(t, x), err)
		}
	}
	if n := len(f.Names()); n != 16 {
		t.Errorf("%d tensors: %q", n, f.Names())
	}
	if _, err := f.Tensor("other"); err == nil || !strings.Contains(err.Error(), "containers.pth has no tensor other") {
		t.Error(err)
	}
	root := f.Value.(*Dict)
	if last := root.Items[3]; last != (Item{int64(3), "number"}) {
		t.Errorf("the number's key: %v", last)
	}
	plain := root.Items[2].Value.(*List).Items
	for i, want := range []any{int64(1), int64(-2), int64(1) << 40, 0.5, true, nil, "tëxt"} {
		if plain[i] != want {
			t.Errorf("item %d is %v, want %v", i, plain[i], want)
		}
	}
	if tuple := plain[7].(Tuple); tuple[0] != "a" || len(tuple[1].(Tuple)) != 0 || len(tuple[2].(*List).Items) != 0 ||
		len(tuple[3].(*Dict).Items) != 0 {
		t.Errorf("the tuple is %v", tuple)
	}
}

// embedding is what record.py's prompt i has.
func embedding(i int) (v []float64) {
	for j := range 20 {
		v = append(v, float64(20*i+j)/8)
	}
	return v
}

func TestPrompts(t *testing.T) {
	for file, want := range map[string][]Prompt{
		"prompts.pth":   {{Text: "a photo of a dog"}, {Text: "an oil painting"}, {Text: ""}},
		"protocol4.pth": {{Text: "a photo of a dog"}},
		"masks.pth": {{Text: "a photo of a dog", Mask: []int32{1, 1, 1, 0, 0}}, {},
			{Text: "", Mask: []int32{1, 1, 1, 0, 0}}},
	} {
		prompts, err := read(t, file).Prompts()
		if err != nil {
			t.Error(err)
			continue
		}
		if file == "masks.pth" {
			prompts = slices.Insert(prompts, 1, Prompt{})
		}
		for i, p := range prompts {
			if p.Embedding.Data == nil {
				continue
			}
			if p.Text != want[i].Text || !slices.Equal(p.Mask, want[i].Mask) || p.Embedding.DType != weights.F16 ||
				!slices.Equal(p.Embedding.Shape, []int{5, 4}) ||
				!slices.Equal(values(t, p.Embedding), embedding(i)) {
				t.Errorf("%s: prompt %d is %q, mask %v, %v %v", file, i, p.Text, p.Mask, p.Embedding.Shape,
					values(t, p.Embedding))
			}
		}
		if len(prompts) != len(want) {
			t.Errorf("%s: %d prompts", file, len(prompts))
		}
	}

	x := weights.FromFloat32([]int{2, 3}, make([]float32, 6))
	dict := func(v any) *Dict { return &Dict{Items: []Item{{"fox", v}}} }
	for want, v := range map[string]any{
		"found a list of 0":                      &List{},
		"found a tensor F32 [2 3]":               x,
		"found an empty one":                     &Dict{},
		"found the number 3 where a prompt":      &Dict{Items: []Item{{int64(3), x}}},
		`"fox": found the text "a"`:              dict("a"),
		`"fox": found None`:                      dict(nil),
		`"fox": found a tensor F32 [2 2 3]`:      dict(weights.FromFloat32([]int{2, 2, 3}, make([]float32, 12))),
		`"fox": found a tensor I32 [2 3]`:        dict(weights.FromInt32([]int{2, 3}, make([]int32, 6))),
		`"fox": found no embedding in a tuple`:   dict(Tuple{weights.FromInt32([]int{2}, []int32{1, 0})}),
		`"fox": found a second embedding`:        dict(Tuple{x, x}),
		`found a mask of shape [3] for 2 tokens`: dict(Tuple{x, weights.FromInt32([]int{3}, []int32{1, 0, 0})}),
		`other numbers than 0 and 1`:             dict(Tuple{x, weights.FromInt32([]int{2}, []int32{1, 256})}),
		`"fox": found a dictionary of 1`:         dict(Tuple{dict(x)}),
	} {
		if _, err := (&File{path: "x.pth", Value: v}).Prompts(); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "x.pth") {
			t.Errorf("%v; want it to name the file and say %q", err, want)
		}
	}
}

// TestEncoded reads what encode_prompt returned, as notebooks save it.
func TestEncoded(t *testing.T) {
	texts := func(prompts []Prompt) (texts []string) {
		for _, p := range prompts {
			texts = append(texts, p.Text)
		}
		return texts
	}
	pair, err := read(t, "pair.pth").Prompts() // of encode_prompt itself
	if err != nil || !slices.Equal(texts(pair), []string{"0", ""}) ||
		!slices.Equal(pair[1].Embedding.Shape, []int{77, 32}) ||
		slices.Equal(pair[0].Embedding.Data, pair[1].Embedding.Data) {
		t.Errorf("the pair: %q, %v", texts(pair), err)
	}
	if w, err := read(t, "parameter.pth").Tensor(`["w"]`); err != nil || !slices.Equal(values(t, w), []float64{1, 1}) {
		t.Errorf("a parameter: %v, %v", w, err)
	}
	x := weights.FromFloat32([]int{2, 1, 3}, []float32{1, 2, 3, 4, 5, 6})
	same := weights.FromFloat32([]int{2, 1, 3}, []float32{7, 8, 9, 7, 8, 9})
	mask := weights.FromInt32([]int{2, 1}, []int32{1, 1})
	for what, v := range map[string]any{
		"a pair": Tuple{x, same}, "a list": &List{Items: []any{x, same}},
		"by names": &Dict{Items: []Item{{"prompt_embeds", x}, {"negative_prompt_embeds", same},
			{"prompt_attention_mask", mask}, {"negative_prompt_attention_mask", nil}}},
	} {
		prompts, err := (&File{Value: v}).Prompts()
		if err != nil || !slices.Equal(texts(prompts), []string{"0", "1", ""}) ||
			!slices.Equal(values(t, prompts[1].Embedding), []float64{4, 5, 6}) ||
			!slices.Equal(values(t, prompts[2].Embedding), []float64{7, 8, 9}) {
			t.Errorf("%s: %v, %v", what, prompts, err)
		}
	}
	if prompts, err := (&File{Value: Tuple{x, nil}}).Prompts(); err != nil || len(prompts) != 2 {
		t.Errorf("without guidance: %v, %v", prompts, err)
	}
	for want, v := range map[string]any{
		"found different negative prompts":   Tuple{x, x},
		"found prompt_embeds [3]":            Tuple{weights.FromFloat32([]int{3}, make([]float32, 3)), nil},
		`found "pooled_prompt_embeds"`:       &Dict{Items: []Item{{"prompt_embeds", x}, {"pooled_prompt_embeds", x}}},
		"negative_prompt_embeds is the text": Tuple{x, "blurry"},
		"found no prompt_embeds":             Tuple{nil, x},
		"prompt_embeds: found a tensor I32":  Tuple{mask, nil},
	} {
		if _, err := (&File{path: "x.pth", Value: v}).Prompts(); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "x.pth") {
			t.Errorf("%v; want it to name the file and say %q", err, want)
		}
	}
}

func TestRecordedRefusals(t *testing.T) {
	for file, want := range map[string]string{
		"legacy.pth":  "torch before 1.6",
		"state.pth":   "BUILD, which sets the attributes of an object",
		"complex.pth": `"torch.ComplexFloatStorage"`,
		"system.pth":  `"posix.system", which is not run`,
		"record.py":   "not a zip archive",
	} {
		if _, err := Read(filepath.Join("testdata", file)); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v; want %q", file, err, want)
		}
	}
	if _, err := read(t, "tensor.pth").Prompts(); err == nil ||
		!strings.Contains(err.Error(), "found a tensor F16 [3 5 4]") {
		t.Error(err)
	}
}

// pack makes an archive of names and contents in turn.
func pack(t testing.TB, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for pair := range slices.Chunk(entries, 2) {
		e, err := w.CreateHeader(&zip.FileHeader{Name: pair[0], Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write([]byte(pair[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func archiveOf(t testing.TB, pickle string, more ...string) []byte {
	return pack(t, append([]string{"a/data.pkl", pickle}, more...)...)
}

// pickle writes a tensor: storage data/0 of a class and a number of elements, offset, shape and strides of small
// numbers.
func pickle(class string, elements, offset byte, shape, strides string) string {
	tuple := func(numbers string) string {
		s := "("
		for _, n := range []byte(numbers) {
			s += "K" + string([]byte{n})
		}
		return s + "t"
	}
	return "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n" + class +
		"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK" + string([]byte{elements}) +
		"tQK" + string([]byte{offset}) + tuple(shape) + tuple(strides) + "\x89ccollections\nOrderedDict\n)RtR."
}

func TestBigEndian(t *testing.T) {
	data := archiveOf(t, pickle("ShortStorage", 3, 1, "\x02", "\x01"), "a/byteorder", "big", "a/data/0",
		"\x00\x01\x01\x02\xff\xfe")
	f, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if v := values(t, f.Value.(weights.Tensor)); !slices.Equal(v, []float64{258, -2}) {
		t.Errorf("got %v", v)
	}
}

func TestMalicious(t *testing.T) {
	const four = "\x00\x00\x80\x3f"
	text := func(s string) string { return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s }
	for _, c := range []struct {
		name, pickle, want string
	}{
		{"os.system", "\x80\x02cos\nsystem\n" + text("touch x") + "\x85R.", `"os.system", which is not run`},
		{"eval", "\x80\x02c__builtin__\neval\n" + text("1") + "\x85R.", `"__builtin__.eval", which is not run`},
		{"protocol 4", "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R.", `"posix.system", which is not run`},
		{"getattr", "\x80\x02cbuiltins\ngetattr\nctorch\nFloatStorage\n" + text("__class__") + "\x86R.",
			`"builtins.getattr", which is not run`},
		{"dotted name", "\x80\x04\x8c\x0bcollections\x8c\x15OrderedDict.__class__\x93.",
			`"collections.OrderedDict.__class__", which is not run`},
		{"newline in a name", "\x80\x04\x8c\x05torch\x8c\x0eFloatStorage\nx\x93.", "which is not run"},
		{"calling a class", "\x80\x02ctorch\nFloatStorage\n)R.", "calls torch.FloatStorage"},
		{"calling OrderedDict", "\x80\x02ccollections\nOrderedDict\n]\x85R.",
			"calls collections.OrderedDict with a tuple of 1"},
		{"calling a text", "\x80\x02" + text("x") + ")R.", `calls the text "x"`},
		{"BUILD", "\x80\x02}}b.", "BUILD"},
		{"INST", "\x80\x02(ios\nsystem\n.", "INST, which calls a function"},
		{"OBJ", "\x80\x02(cos\nsystem\no.", "os.system"},
		{"NEWOBJ", "\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"},
		{"EXT1", "\x80\x02\x82\x01.", "EXT1"},
		{"PERSID", "\x80\x02Px\n.", "PERSID"},
		{"protocol 0", "(dp0\nI1\n.", "DICT"},
		{"protocol 9", "\x80\x09N.", "protocol is 9"},
		{"a class", "\x80\x02ctorch\nFloatStorage\n\x85.", "holds torch.FloatStorage itself"},
		{"a class as a key", "\x80\x02}ctorch\nFloatStorage\nNs.", "has the key torch.FloatStorage"},
		{"a key twice", "\x80\x02}K\x01NsK\x01Ns.", "the key 1 twice"},
		{"a list in itself", "\x80\x02]q\x00h\x00a.", "deep in each other"},
		{"deep", "\x80\x02" + strings.Repeat("]", 70) + strings.Repeat("a", 69) + ".", "more than 64 deep"},
		{"stack underflow", "\x80\x02a.", "not there"},
		{"below a mark", "\x80\x02](N\x86.", "not there"},
		{"no mark", "\x80\x02t.", "mark that is not there"},
		{"odd pairs", "\x80\x02}(Nu.", "want pairs"},
		{"append to a tuple", "\x80\x02)Na.", "appends to a tuple"},
		{"memo", "\x80\x02h\x07.", "did not keep"},
		{"no end", "\x80\x02]", "truncated"},
		{"no name", "\x80\x02ctorch\n", "truncated"},
		{"a text longer than the file", "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.", "truncated"},
		{"a text that is none", "\x80\x02X\x01\x00\x00\x00\xff.", "UTF-8"},
		{"a long number", "\x80\x02\x8a\x09123456789.", "9 bytes"},
		{"more after the end", "\x80\x02N.N.", "bytes to come"},
		{"unknown opcode", "\x80\x02\xff", "unknown opcode"},
		{"a storage alone", "\x80\x02(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") +
			"K\x01tQ.", "holds a storage itself"},
		{"no storage", "\x80\x02NQ.", "refers to None"},
		{"a storage elsewhere", strings.Replace(pickle("FloatStorage", 1, 0, "\x01", "\x01"), "\x01\x00\x00\x000",
			"\x08\x00\x00\x00../../up", 1), "no data/../../up"},
		{"another kind", pickle("ComplexFloatStorage", 1, 0, "", ""), "ComplexFloatStorage"},
		{"more elements than bytes", pickle("FloatStorage", 2, 0, "\x02", "\x01"), "of 2 elements of F32 has 4 bytes"},
		{"beyond by shape", pickle("FloatStorage", 1, 0, "\x02", "\x01"), "goes to element 1 of a storage of 1"},
		{"beyond by offset", pickle("FloatStorage", 1, 1, "\x01", "\x01"), "goes to element 1 of a storage of 1"},
		{"fewer strides", pickle("FloatStorage", 1, 0, "\x01\x01", "\x01"), "as many sizes as strides"},
		{"enormous by strides of 0", pickle("FloatStorage", 1, 0, "\xff\xff\xff\xff", "\x00\x00\x00\x00"),
			"too many for a file of this size"},
		{"overflow", pickle("FloatStorage", 1, 0, strings.Repeat("\xff", 12), strings.Repeat("\x00", 12)), "too large"},
		{"a negative offset", strings.Replace(pickle("FloatStorage", 1, 7, "\x01", "\x01"), "K\x07",
			"J\xff\xff\xff\xff", 1), "none of them negative"},
	} {
		_, err := parse(archiveOf(t, c.pickle, "a/data/0", four))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}

// Containers that hold each other take no memory until they are unfolded; that is refused before it takes long.
func TestBillionLaughs(t *testing.T) {
	text := "\x80\x02(]q\x00" // a tuple of lists, of which each holds the one before ten times
	for i := range byte(30) {
		text += "](" + strings.Repeat("h"+string([]byte{i}), 10) + "eq" + string([]byte{i + 1})
	}
	text += "t."
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := parse(archiveOf(t, text))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "unfold") {
		t.Error(err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("it took %d bytes to refuse it", used)
	}
}

func TestLyingArchives(t *testing.T) {
	whole, err := os.ReadFile("testdata/prompts.pth")
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if _, err := parse(whole[:n]); err == nil {
			t.Fatalf("the first %d bytes of %d were accepted", n, len(whole))
		}
	}
	// Numbers that were changed are noticed by their checksum.
	changed := bytes.Clone(whole)
	changed[bytes.Index(changed, []byte{0x00, 0x30, 0x00, 0x34})] ^= 1 // 1/8 and 1/4
	if _, err := parse(changed); err == nil ||
		!strings.Contains(err.Error(), "data/0 in its archive has the checksum") {
		t.Errorf("changed numbers: %v", err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	e, _ := w.Create("a/data.pkl")
	e.Write(bytes.Repeat([]byte("N"), 1<<20))
	w.Close()
	for want, data := range map[string][]byte{
		"compressed":                 b.Bytes(),
		"no data.pkl":                pack(t, "a/b", ""),
		`folders "a" and "b"`:        pack(t, "a/data.pkl", "N.", "b/data.pkl", "N."),
		`"a/data.pkl" twice`:         pack(t, "a/data.pkl", "N.", "a/data.pkl", "N."),
		`byteorder is "middle"`:      archiveOf(t, "N.", "a/byteorder", "middle"),
		`version is "11\n"`:          archiveOf(t, "N.", "a/version", "11\n"),
		"has no data/0":              archiveOf(t, pickle("FloatStorage", 1, 0, "", "")),
		"ends in the middle":         archiveOf(t, ""),
		"at most 16777216 are read":  archiveOf(t, strings.Repeat("N", maxPickle+1)),
		"is the file truncated?":     []byte("PK\x03\x04"),
		"not a zip archive as torch": nil,
	} {
		if _, err := parse(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.pth")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, name := range files {
		z, err := zip.OpenReader(name)
		if err != nil {
			continue // the old format
		}
		for _, e := range z.File {
			if strings.HasSuffix(e.Name, "/data.pkl") {
				var b bytes.Buffer
				r, err := e.Open()
				if err != nil {
					f.Fatal(err)
				}
				b.ReadFrom(r)
				f.Add(b.Bytes(), []byte("12345678"))
			}
		}
		z.Close()
	}
	f.Add([]byte(pickle("ShortStorage", 3, 1, "\x02", "\x01")), []byte("\x00\x01\x01\x02\xff\xfe"))
	f.Fuzz(func(t *testing.T, pickle, numbers []byte) {
		data := archiveOf(t, string(pickle), "a/data/0", string(numbers))
		file, err := parse(data)
		if err != nil {
			return
		}
		for _, name := range file.Names() {
			x, err := file.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(x.Data) != x.Size()*x.DType.Size() {
				t.Fatalf("%s: %v of %s with %d bytes", name, x.Shape, x.DType, len(x.Data))
			}
		}
		_, _ = file.Prompts()
	})
}

// FuzzArchive changes whole files.
func FuzzArchive(f *testing.F) {
	for _, name := range []string{"containers.pth", "prompts.pth", "legacy.pth"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parse(data) })
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]any{
		"\x8a\x00": int64(0), "\x8a\x01\xff": int64(-1), "\x8a\x02\xff\x00": int64(255),
		"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80": int64(math.MinInt64),
		"J\xfe\xff\xff\xff":                        int64(-2), "M\xff\xff": int64(65535), "G\xbf\xf8\x00\x00\x00\x00\x00\x00": -1.5,
	} {
		if f, err := parse(archiveOf(t, "\x80\x02"+text+".")); err != nil || f.Value != want {
			t.Errorf("%x: %v, want %v", text, err, want)
		}
	}
}
