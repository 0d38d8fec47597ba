package hub

import (
	"crypto/x509"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// variable returns the first of some environment variables that is set, as a path: with ~ and other variables filled
// in.
func variable(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return expand(value)
		}
	}
	return ""
}

var reference = regexp.MustCompile(`\$(?:\w+|\{[^{}]*\})`)

// expand fills in a path as Python's expanduser and expandvars do: what is not known stays as it is.
func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok {
		name, behind, _ := strings.Cut(rest, "/")
		home := homeOf(name)
		if home != "" {
			path = filepath.Join(home, behind)
		}
	}
	return reference.ReplaceAllStringFunc(path, func(ref string) string {
		if value, set := os.LookupEnv(strings.Trim(ref, "${}")); set {
			return value
		}
		return ref
	})
}

// homeOf returns a user's home folder, one's own without a name; empty: it is not known.
func homeOf(name string) string {
	if name != "" {
		if u, err := user.Lookup(name); err == nil {
			return u.HomeDir
		}
		return ""
	}
	if home, err := os.UserHomeDir(); err == nil {
		return home
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return ""
}

// isSet reports whether one of some variables says yes.
func isSet(names ...string) bool {
	for _, name := range names {
		switch strings.ToUpper(os.Getenv(name)) {
		case "1", "ON", "YES", "TRUE":
			return true
		}
	}
	return false
}

// Offline reports whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE says that nothing is to be fetched.
func Offline() bool { return isSet("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") }

// stall is how long a connection may bring nothing.
func stall() (time.Duration, error) {
	const name, usual = "HF_HUB_DOWNLOAD_TIMEOUT", 30 * time.Second
	text := os.Getenv(name)
	if text == "" {
		return usual, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds > 0 && seconds <= 1e6) {
		return 0, fmt.Errorf("%s is %q, expected a number of seconds", name, text)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// authorities returns the certificates of REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE beside the system's; nil: these alone.
func authorities() (*x509.CertPool, error) {
	path := variable("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s, which REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names, has no certificates in it: "+
			"expected PEM", path)
	}
	return pool, nil
}
