// Package otherfile tells what stands in a file's place: what clones, downloads and editors leave where a reader
// expected the file itself.
package otherfile

import (
	"bytes"
	"fmt"
	"os"
)

// Explain returns why a file that begins with head can't be read: what the file is, and what to do, where it is one of
// the usual things in a file's place; err otherwise. A nil err stays nil: what can be read needs no explanation.
func Explain(head []byte, err error) error {
	if err == nil {
		return nil
	}
	const again = "download it again"
	is := func(what, remedy string) error { return fmt.Errorf("it is %s, not the file itself: %s", what, remedy) }
	coded := func(what string) error {
		return fmt.Errorf("it %s: save it as UTF-8 without a mark (PowerShell: -Encoding utf8NoBOM)", what)
	}
	begins := func(with string) bool { return bytes.HasPrefix(head, []byte(with)) }
	const mark = "\xef\xbb\xbf"
	switch {
	case begins("version https://git-lfs"):
		return is("a Git LFS pointer",
			"fetch the contents with 'git lfs install' and 'git lfs pull' in the clone, or "+again)
	case isMarkup(bytes.TrimPrefix(head, []byte(mark))):
		return is("an HTML or XML page, as servers send one for a login, a licence to accept or an error",
			"open the address in a browser to see which, then "+again)
	case begins(mark):
		return coded("begins with a byte-order mark")
	case begins("\xff\xfe"), begins("\xfe\xff"), isWide(head):
		return coded("is text in UTF-16")
	case isAnswer(head):
		return is(fmt.Sprintf("a server's answer, %q", firstLine(head)),
			"check the address and your access, then "+again)
	case begins("\x1f\x8b"):
		return is("compressed by gzip", "unpack it with gunzip")
	case begins("PK\x03\x04"):
		return is("a zip archive", "unpack it; if torch.save wrote it, save its tensors with safetensors")
	case begins("\x80\x02"), begins("\x80\x03"), begins("\x80\x04\x95"):
		return is("a Python pickle", "save its tensors with safetensors")
	case begins("\x89HDF\r\n\x1a\n"):
		return is("an HDF5 file", "save its tensors with safetensors")
	case begins("GGUF"):
		return is("a GGUF file", "fetch the model's safetensors")
	}
	return err
}

// ExplainFile is [Explain] for the file at a path.
func ExplainFile(path string, err error) error {
	f, openErr := os.Open(path)
	if openErr != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := f.Read(head)
	return Explain(head[:n], err)
}

// isMarkup reports whether a text begins as a page does.
func isMarkup(head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n")
	head = bytes.ToLower(head[:min(len(head), 16)])
	for _, begin := range []string{"<!doctype", "<html", "<head", "<body", "<?xml", "<!--", "<error"} {
		if bytes.HasPrefix(head, []byte(begin)) {
			return true
		}
	}
	return false
}

// isWide reports whether a text begins as JSON in UTF-16 without a mark.
func isWide(head []byte) bool {
	return bytes.HasPrefix(head, []byte("{\x00")) || bytes.HasPrefix(head, []byte("\x00{"))
}

// isAnswer reports whether a text begins as the hub's and other servers' refusals do.
func isAnswer(head []byte) bool {
	for _, begin := range []string{"Entry not found", "Repository not found", "Invalid username or password",
		"Access to model", "Not Found", "404: Not Found",
		"404 Not Found", "404 page not found", "403 Forbidden", "401 Unauthorized", "Forbidden", "Unauthorized",
		`{"error"`} {
		if bytes.HasPrefix(head, []byte(begin)) {
			return true
		}
	}
	return false
}

func firstLine(head []byte) []byte {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	return line[:min(len(line), 80)]
}
