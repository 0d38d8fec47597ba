package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// idx is an array of bytes in the IDX format: two zero bytes, 0x08 for unsigned bytes, the number of dimensions, each
// dimension as a big-endian 32-bit number, the values. See https://yann.lecun.com/exdb/mnist/.
type idx struct {
	dims []int
	data []byte
}

// maxValues bounds an array, and with it what a small compressed file can ask for: a million of MNIST's pictures.
const maxValues = 1 << 30

func read(r io.Reader, gzipped bool, rank int) (x idx, err error) {
	if gzipped {
		z, err := gzip.NewReader(bufio.NewReader(r))
		if err != nil {
			return x, fmt.Errorf("it is not a gzip file: %w", err)
		}
		defer z.Close()
		r = z
	}
	header := make([]byte, 4+4*rank)
	if n, err := io.ReadFull(r, header); err != nil {
		return x, fmt.Errorf("it has %d bytes, its header needs %d: %w", n, len(header), truncated(err))
	}
	if want := []byte{0, 0, 8, byte(rank)}; !bytes.Equal(header[:4], want) {
		return x, fmt.Errorf("it starts with % x; an IDX file of unsigned bytes in %d dimensions starts with % x", header[:4], rank, want)
	}
	total := uint64(1)
	for i := range rank {
		d := uint64(binary.BigEndian.Uint32(header[4+4*i:]))
		x.dims = append(x.dims, int(d))
		if d > 0 && total > maxValues/d {
			return idx{}, fmt.Errorf("its dimensions %d make more than %d values", x.dims, maxValues)
		}
		total *= d
	}
	// The buffer grows with what is really there, whatever the dimensions claim; one byte more shows what is too much.
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(r, int64(total)+1))
	switch {
	case err != nil:
		return idx{}, fmt.Errorf("reading its values: %w", truncated(err))
	case uint64(n) < total:
		return idx{}, fmt.Errorf("its dimensions %d claim %d values, it holds %d (is it truncated?)", x.dims, total, n)
	case uint64(n) > total:
		return idx{}, fmt.Errorf("its dimensions %d claim %d values, it holds more", x.dims, total)
	}
	x.data = bytes.Clone(data.Bytes()) // without the room that the buffer grew for
	return x, nil
}

func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the file ends early (is it truncated?)")
	}
	return err
}
