package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/unnoise/unnoise/internal/otherfile"
)

// idx is an array in the IDX format: two zero bytes, the type of the values, the number of dimensions, each dimension
// as a big-endian 32-bit number, the values. See https://yann.lecun.com/exdb/mnist/.
type idx struct {
	dims []int
	data []byte
}

// kind is a type of values and a number of dimensions, as the header says them.
type kind struct{ values, rank byte }

// The kinds that are read. QMNIST's labels have eight columns, of which the first is the class.
var (
	pictures = kind{unsignedByte, 3}
	classes  = kind{unsignedByte, 1}
	table    = kind{signedInt, 2}
	column   = kind{signedInt, 1}
)

const (
	unsignedByte = 0x08
	signedInt    = 0x0c // of four bytes, big-endian
)

// size is the number of bytes of a value.
func (k kind) size() int {
	if k.values == signedInt {
		return 4
	}
	return 1
}

// maxBytes bounds an array, and with it what a small compressed file can ask for: a million of MNIST's pictures.
const maxBytes = 1 << 30

// read reads an array of one of some kinds, plain or compressed by gzip, as its first bytes tell.
func read(r io.Reader, kinds ...kind) (x idx, k kind, err error) {
	in := bufio.NewReader(r)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return x, k, fmt.Errorf("it is no whole gzip file: %w", truncated(err))
		}
		defer z.Close()
		in = bufio.NewReader(z)
	}
	start, err := in.Peek(4)
	if err != nil {
		return x, k, fmt.Errorf("it has %d bytes, its header needs more: %w", len(start), truncated(err))
	}
	known := false
	for _, each := range kinds {
		if start[0] == 0 && start[1] == 0 && start[2] == each.values && start[3] == each.rank {
			k, known = each, true
		}
	}
	if !known {
		head, _ := in.Peek(512)
		return x, k, otherfile.Explain(head,
			fmt.Errorf("it starts with % x; an IDX file of unsigned bytes in %d dimensions starts with 00 00 08 %02x",
				start, kinds[0].rank, kinds[0].rank))
	}
	header := make([]byte, 4+4*int(k.rank))
	if n, err := io.ReadFull(in, header); err != nil {
		return x, k, fmt.Errorf("it has %d bytes, its header needs %d: %w", n, len(header), truncated(err))
	}
	total := uint64(k.size())
	for i := range int(k.rank) {
		d := uint64(binary.BigEndian.Uint32(header[4+4*i:]))
		x.dims = append(x.dims, int(d))
		if d > 0 && total > maxBytes/d {
			return idx{}, k, fmt.Errorf("its dimensions %d make more than %d bytes", x.dims, maxBytes)
		}
		total *= d
	}
	// The buffer grows with what is really there, whatever the dimensions claim; one byte more shows what is too much.
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(in, int64(total)+1))
	switch {
	case err != nil:
		return idx{}, k, fmt.Errorf("reading its values: %w", truncated(err))
	case uint64(n) < total:
		return idx{}, k, fmt.Errorf("its dimensions %d claim %d bytes, it holds %d (is it truncated?)", x.dims, total,
			n)
	case uint64(n) > total:
		return idx{}, k, fmt.Errorf("its dimensions %d claim %d bytes, it holds more", x.dims, total)
	}
	x.data = bytes.Clone(data.Bytes()) // without the room that the buffer grew for
	return x, k, nil
}

// readLabels reads the classes of images: bytes, or the first column of numbers.
func readLabels(r io.Reader) ([]byte, error) {
	x, k, err := read(r, classes, table, column)
	if err != nil || k == classes {
		return x.data, err
	}
	columns := 1
	if k == table {
		columns = x.dims[1]
	}
	if columns == 0 {
		return nil, fmt.Errorf("its dimensions are %d, expected at least one column", x.dims)
	}
	labels := make([]byte, 0, x.dims[0])
	for i := range x.dims[0] {
		label := int32(binary.BigEndian.Uint32(x.data[4*i*columns:]))
		if label < 0 || label > 255 {
			return nil, fmt.Errorf("its label %d is %d, expected 0 to 255", i, label)
		}
		labels = append(labels, byte(label))
	}
	return labels, nil
}

func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the file ends early (is it truncated?)")
	}
	return err
}
