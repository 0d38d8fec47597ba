package figure

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/unnoise/unnoise/internal/otherfile"
)

// Parameters are what made a picture (prompt, seed, steps, guidance, model, …), in the order they are shown.
type Parameters []Parameter

// Parameter is one of them. The key is a PNG keyword: 1 to 79 printable Latin-1 characters, with no space at its ends
// and no two in a row. The value is any text without NUL.
type Parameter struct{ Key, Value string }

// Add appends a parameter, the value formatted as fmt.Sprint does. What is no text, as folders' names need not be,
// becomes U+FFFD.
func (p *Parameters) Add(key string, value any) {
	text := strings.ReplaceAll(fmt.Sprint(value), "\x00", "\uFFFD")
	*p = append(*p, Parameter{key, strings.ToValidUTF8(text, "\uFFFD")})
}

// Get returns the first value of that key.
func (p Parameters) Get(key string) (value string, ok bool) {
	for _, q := range p {
		if q.Key == key {
			return q.Value, true
		}
	}
	return "", false
}

// chunks returns the parameters as PNG chunks (PNG specification, 11.3.3): tEXt where the value is Latin-1, otherwise
// iTXt.
func (p Parameters) chunks() ([]byte, error) {
	var out []byte
	for _, q := range p {
		key, ok := latin1(q.Key)
		if !ok || !isKeyword(key) {
			return nil, fmt.Errorf("a picture's parameter %q has a name that PNG cannot hold: 1 to 79 Latin-1 "+
				"characters, single spaces inside only", q.Key)
		}
		if !utf8.ValidString(q.Value) || strings.ContainsRune(q.Value, 0) {
			return nil, fmt.Errorf("the value of a picture's parameter %q is not text: it has invalid UTF-8 or a NUL "+
				"byte", q.Key)
		}
		if value, ok := latin1(q.Value); ok {
			out = appendChunk(out, "tEXt", key, []byte{0}, value)
		} else {
			// not compressed, no language, no translated keyword
			out = appendChunk(out, "iTXt", key, []byte{0, 0, 0, 0, 0}, []byte(q.Value))
		}
	}
	return out, nil
}

// ErrNotPNG says that a file does not begin as a PNG does.
var ErrNotPNG = errors.New("not a PNG file")

const (
	pngSignature = "\x89PNG\r\n\x1a\n"

	maxTextChunk = 1 << 23 // longer ones are an error: they are no parameters of ours. A recipe may hold pictures
	maxTextTotal = 1 << 24
)

// ReadParametersFile reads the parameters of a PNG file; see [ReadParameters].
func ReadParametersFile(path string) (Parameters, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := ReadParameters(f)
	if errors.Is(err, ErrNotPNG) {
		head := make([]byte, 256)
		n, _ := f.ReadAt(head, 0)
		if why := otherfile.Explain(head[:n], err); why != err {
			err = fmt.Errorf("%w: %w", err, why)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// ReadParameters returns the texts of a PNG's tEXt, zTXt and iTXt chunks in the file's order; none is not an error.
// It does not decode the picture. Damage is: a wrong checksum, a chunk cut short, no end chunk.
func ReadParameters(r io.Reader) (Parameters, error) {
	in := bufio.NewReader(r)
	signature := make([]byte, len(pngSignature))
	if _, err := io.ReadFull(in, signature); err != nil || string(signature) != pngSignature {
		return nil, ErrNotPNG
	}
	var found Parameters
	total := 0
	for {
		kind, data, err := readChunk(in)
		if err != nil {
			return nil, err
		}
		var q Parameter
		switch kind {
		case "IEND":
			return found, nil
		case "tEXt", "zTXt", "iTXt":
			q, err = parseText(kind, data)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("damaged PNG: %s chunk: %w", kind, err)
		}
		if total += len(q.Key) + len(q.Value); total > maxTextTotal {
			return nil, fmt.Errorf("the PNG holds over %d bytes of text", maxTextTotal)
		}
		found = append(found, q)
	}
}

// readChunk reads the next chunk. Only text chunks' data are returned; others pass by, so that no length can ask for
// memory.
func readChunk(in io.Reader) (kind string, data []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", nil, errors.New("damaged PNG: it ends before its end chunk")
	}
	length := int64(binary.BigEndian.Uint32(head[:4]))
	kind = string(head[4:])
	sum := crc32.NewIEEE()
	sum.Write(head[4:])

	var into io.Writer = sum
	var buffer bytes.Buffer
	switch kind {
	case "tEXt", "zTXt", "iTXt":
		if length > maxTextChunk {
			return "", nil, fmt.Errorf("the PNG has a %s chunk of %d bytes; at most %d are read", kind, length,
				maxTextChunk)
		}
		into = io.MultiWriter(sum, &buffer)
	}
	if n, err := io.CopyN(into, in, length); err != nil {
		return "", nil, fmt.Errorf("damaged PNG: chunk %q says %d bytes, found %d", kind, length, n)
	}
	var tail [4]byte
	if _, err := io.ReadFull(in, tail[:]); err != nil {
		return "", nil, fmt.Errorf("damaged PNG: chunk %q has no checksum", kind)
	}
	if want, got := binary.BigEndian.Uint32(tail[:]), sum.Sum32(); want != got {
		return "", nil, fmt.Errorf("damaged PNG: chunk %q has checksum %08x, its data %08x", kind, want, got)
	}
	return kind, buffer.Bytes(), nil
}

func parseText(kind string, data []byte) (Parameter, error) {
	key, rest, ok := bytes.Cut(data, []byte{0})
	if !ok || !isKeyword(key) {
		return Parameter{}, errors.New("it has no valid keyword")
	}
	q := Parameter{Key: fromLatin1(key)}
	switch kind {
	case "tEXt":
		if bytes.IndexByte(rest, 0) >= 0 {
			return Parameter{}, fmt.Errorf("the value of %q has a NUL byte", q.Key)
		}
		q.Value = fromLatin1(rest)
		return q, nil
	case "zTXt":
		if len(rest) < 1 || rest[0] != 0 {
			return Parameter{}, fmt.Errorf("the value of %q is compressed by an unknown method", q.Key)
		}
		text, err := inflate(rest[1:])
		if err != nil {
			return Parameter{}, fmt.Errorf("the value of %q: %w", q.Key, err)
		}
		q.Value = fromLatin1(text)
		return q, nil
	}
	if len(rest) < 2 || rest[0] > 1 || rest[0] == 1 && rest[1] != 0 {
		return Parameter{}, fmt.Errorf("the value of %q is compressed by an unknown method", q.Key)
	}
	compressed := rest[0] == 1
	_, rest, ok = bytes.Cut(rest[2:], []byte{0}) // language tag
	if ok {
		_, rest, ok = bytes.Cut(rest, []byte{0}) // translated keyword
	}
	if !ok {
		return Parameter{}, fmt.Errorf("%q is cut short", q.Key)
	}
	if compressed {
		var err error
		if rest, err = inflate(rest); err != nil {
			return Parameter{}, fmt.Errorf("the value of %q: %w", q.Key, err)
		}
	}
	if !utf8.Valid(rest) {
		return Parameter{}, fmt.Errorf("the value of %q is not UTF-8", q.Key)
	}
	q.Value = string(rest)
	return q, nil
}

func inflate(data []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(z, maxTextChunk+1))
	if err == nil && len(text) > maxTextChunk {
		err = fmt.Errorf("it unpacks to over %d bytes", maxTextChunk)
	}
	return text, err
}

// appendChunk appends one PNG chunk: length, kind, data, CRC of kind and data.
func appendChunk(out []byte, kind string, data ...[]byte) []byte {
	length := 0
	for _, d := range data {
		length += len(d)
	}
	out = binary.BigEndian.AppendUint32(out, uint32(length))
	start := len(out)
	out = append(out, kind...)
	for _, d := range data {
		out = append(out, d...)
	}
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}

// isKeyword reports whether the Latin-1 bytes are a PNG keyword (PNG specification, 11.3.3.2).
func isKeyword(key []byte) bool {
	if len(key) < 1 || len(key) > 79 || key[0] == ' ' || key[len(key)-1] == ' ' || bytes.Contains(key, []byte("  ")) {
		return false
	}
	for _, c := range key {
		if c < 32 || 126 < c && c < 161 {
			return false
		}
	}
	return true
}

// latin1 converts text, unless it has a character that PNG's tEXt may not hold.
func latin1(s string) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 255 || r != '\n' && r < 32 || 126 < r && r < 160 {
			return nil, false
		}
		out = append(out, byte(r))
	}
	return out, true
}

func fromLatin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
