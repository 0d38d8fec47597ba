package otherfile

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestExplain(t *testing.T) {
	wide := func(text string, low, high int) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(text)) {
			pair := [2]byte{}
			pair[low], pair[high] = byte(u), byte(u>>8)
			b = append(b, pair[:]...)
		}
		return string(b)
	}
	for head, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n": "git lfs pull",
		"\n <!DOCTYPE html>\n<html>": "an HTML or XML page",
		"\ufeff<html>":               "an HTML or XML page",
		`<?xml version="1.0"?><Error><Code>AccessDenied</Code>`: "an HTML or XML page",
		"\ufeff{\"a\": 1}":     "byte-order mark",
		wide("\ufeff{}", 0, 1): "UTF-16",
		wide("\ufeff{}", 1, 0): "UTF-16",
		wide(`{"a": 1}`, 0, 1): "UTF-16",
		wide(`{"a": 1}`, 1, 0): "UTF-16",
		"Entry not found":      `a server's answer, "Entry not found"`,
		"\x1f\x8b\x08":         "gunzip",
		"PK\x03\x04":           "a zip archive",
		"\x80\x02}q\x00":       "pickle",
	} {
		err := Explain([]byte(head), errors.New("it can't be read"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", head, err, want)
		}
		if err := Explain([]byte(head), nil); err != nil {
			t.Errorf("%q can be read, and %v", head, err)
		}
	}
	own := errors.New("it can't be read")
	for _, head := range []string{"", "{", `{"a": 1`, "\x00\x00\x08\x03", "a text", "<", "\x89PNG\r\n\x1a\n"} {
		if err := Explain([]byte(head), own); err != own {
			t.Errorf("%q: %v", head, err)
		}
	}
}
