// Package hub fetches DeepFloyd IF's pipelines from a hub, in diffusers' layout, and finds them in the cache that the
// hub's own programs share.
//
// It honours the variables that those heed, with ~ and $NAME in paths: HF_TOKEN (or the file that HF_TOKEN_PATH names,
// or HF_HOME/token), HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_HUB_DISABLE_IMPLICIT_TOKEN,
// HF_HUB_DOWNLOAD_TIMEOUT and REQUESTS_CA_BUNDLE, and the older names HUGGINGFACE_HUB_CACHE, HUGGING_FACE_HUB_TOKEN and
// TRANSFORMERS_OFFLINE.
package hub

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultEndpoint is the hub that is asked unless HF_ENDPOINT names another.
const DefaultEndpoint = "https://huggingface.co"

// Client asks a hub.
type Client struct {
	Endpoint string        // without a slash at the end
	Token    string        // is sent to the endpoint's host alone; empty: none
	Stall    time.Duration // a connection that brings nothing for so long is given up
	Backoff  time.Duration // before the first new attempt; doubles with each
	Attempts int           // in a row without progress

	offline bool // nothing is fetched

	http    *http.Client
	reached atomic.Bool // the hub answered once
}

// New makes a client by the environment's variables.
func New() (*Client, error) {
	c := &Client{Endpoint: strings.TrimRight(os.Getenv("HF_ENDPOINT"), "/"), Backoff: time.Second, Attempts: 6,
		offline: Offline()}
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	if u, err := url.Parse(c.Endpoint); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" ||
		u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("HF_ENDPOINT is %q, expected the address of a hub such as %s", c.Endpoint,
			DefaultEndpoint)
	}
	var err error
	if c.Stall, err = stall(); err != nil {
		return nil, err
	}
	if c.Token, err = token(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // sizes and ranges are of the files themselves
	roots, err := authorities()
	if err != nil {
		return nil, err
	}
	if roots != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: checkRedirect}
	return c, nil
}

// token is the one that is set, or that the hub's own program keeps after a login.
func token() (string, error) {
	if isSet("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return "", nil
	}
	t := strings.TrimSpace(cmp.Or(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN")))
	if t == "" {
		path := variable("HF_TOKEN_PATH")
		if path == "" {
			home, err := home()
			if err != nil {
				return "", nil // and so no token of a login
			}
			path = filepath.Join(home, "token")
		}
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("reading the hub's token: %w", err)
		}
		t = strings.TrimSpace(string(data))
	}
	if len(t) > 1 && (t[0] == '"' || t[0] == '\'') {
		return "", errors.New("the hub's token (HF_TOKEN, or the file token in HF_HOME) stands in quotes: write it " +
			"without them, as docker's --env-file keeps them")
	}
	if strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("the hub's token (HF_TOKEN, or the file token in HF_HOME) has spaces or other " +
			"characters that no token has")
	}
	return t, nil
}

// checkRedirect keeps the token from all hosts but the first, subdomains too.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > 10 {
		return errors.New("it redirects more than 10 times")
	}
	if req.URL.Scheme != "https" && (first.Scheme == "https" || req.URL.Scheme != "http") {
		return fmt.Errorf("it redirects from %s to %s", first.Scheme, req.URL.Scheme)
	}
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		req.Header.Del("Authorization")
	}
	return nil
}

// temporary is an error after which it is worth to try again.
type temporary struct {
	error
	after time.Duration // as the hub asks for; 0: it does not
}

func (t temporary) Unwrap() error { return t.error }

// retry calls try until it succeeds, fails for good, or has failed too often in a row without progress. failed is told
// of each failure that is followed by another attempt.
func (c *Client) retry(ctx context.Context, failed func(error), try func() (progress bool, err error)) error {
	for failures := 0; ; {
		progress, err := try()
		again, isTemporary := errors.AsType[temporary](err)
		if !isTemporary {
			return err
		}
		if progress {
			failures = 0
		}
		if failures++; failures >= c.Attempts {
			return fmt.Errorf("%w (tried %d times; the same command goes on where it stopped)", again.error, failures)
		}
		wait := max(min(c.Backoff<<(failures-1), time.Minute), min(again.after, 5*time.Minute))
		failed(fmt.Errorf("%w; again in %v", again.error, wait.Round(time.Millisecond)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

var errStalled = errors.New("the connection stalled")

// get asks for an address of the endpoint, from byte offset on, and hands the answer to read. A connection on which
// nothing comes for c.Stall is cut.
func (c *Client) get(ctx context.Context, repo, address string, offset int64,
	read func(resp *http.Response) error) error {
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(c.Stall, func() { cancel(errStalled) })
	defer timer.Stop()

	req, err := http.NewRequestWithContext(within, http.MethodGet, c.Endpoint+address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "unnoise")
	req.Header.Set("Accept-Encoding", "identity")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := c.http.Do(req)
	if err == nil {
		defer resp.Body.Close()
		c.reached.Store(true)
		if err = c.refusal(resp, repo); err == nil {
			resp.Body = watched{resp.Body, func() { timer.Reset(c.Stall) }}
			err = read(resp)
		}
	} else if u, ok := errors.AsType[*url.Error](err); ok { // without the address, which may carry a signature
		err = temporary{error: fmt.Errorf("asking %s: %w", req.URL.Host, u.Err)}
		if dns, ok := errors.AsType[*net.DNSError](u.Err); ok && dns.IsNotFound && !c.reached.Load() {
			err = fmt.Errorf("there is no way to %s: its name is not found. Is there a network? Where a proxy leads "+
				"out, set HTTPS_PROXY", req.URL.Host)
		}
		if strings.HasPrefix(u.Err.Error(), "it redirects") {
			err = fmt.Errorf("asking %s for %s: %w", req.URL.Host, repo, u.Err)
		}
		if _, untrusted := errors.AsType[*tls.CertificateVerificationError](u.Err); untrusted {
			err = fmt.Errorf("asking %s for %s: %w. Is the computer's clock right? Where a school's or company's "+
				"network has an authority of its own, set SSL_CERT_FILE to a file with its certificate (PEM)",
				req.URL.Host, repo, u.Err)
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case context.Cause(within) == errStalled:
		return temporary{error: errStalled}
	}
	return err
}

// watched calls alive whenever something was read.
type watched struct {
	io.ReadCloser
	alive func()
}

func (w watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if n > 0 {
		w.alive()
	}
	return n, err
}

// refusal explains an answer that is not what was asked for.
func (c *Client) refusal(resp *http.Response, repo string) error {
	code := resp.StatusCode
	if code == http.StatusOK || code == http.StatusPartialContent || code == http.StatusRequestedRangeNotSatisfiable {
		return nil
	}
	host := resp.Request.URL.Host
	status := fmt.Errorf("%s answers %d %s", host, code, http.StatusText(code))
	elsewhere := !strings.HasSuffix(c.Endpoint, "//"+host) && !strings.Contains(c.Endpoint, "//"+host+"/")
	page := c.Endpoint + "/" + repo
	switch {
	// a signed address is too old
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout, elsewhere &&
		code == http.StatusForbidden:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return temporary{status, time.Duration(max(seconds, 0)) * time.Second}
	case elsewhere:
		return status
	case (code == http.StatusUnauthorized || code == http.StatusForbidden) && c.Token == "":
		return fmt.Errorf("%w: %s is not open to everybody, or its name is wrong. Visit %s with an account of the "+
			"hub and accept the licence, make a token that may read at %s/settings/tokens, and set HF_TOKEN to it",
			status, repo, page, c.Endpoint)
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%w: the token in HF_TOKEN, or that of the last login, is not valid, or the name %s is "+
			"wrong. Tokens are made at %s/settings/tokens", status, repo, c.Endpoint)
	case code == http.StatusForbidden:
		return fmt.Errorf("%w: the token's account may not read %s. Visit %s with that account and accept the "+
			"licence; a fine-grained token must also be allowed to read gated repositories (%s/settings/tokens)",
			status, repo, page, c.Endpoint)
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: it has no %s, or not this revision of it", status, repo)
	}
	return status
}

// maxAnswer bounds what is read of an answer in JSON.
const maxAnswer = 16 << 20

// getJSON asks for a small object.
func (c *Client) getJSON(ctx context.Context, repo, address string, failed func(error), into any) error {
	return c.retry(ctx, failed, func() (bool, error) {
		return false, c.get(ctx, repo, address, 0, func(resp *http.Response) error {
			data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
			if err != nil {
				return temporary{error: fmt.Errorf("asking %s: %w", resp.Request.URL.Host, err)}
			}
			if len(data) > maxAnswer {
				return fmt.Errorf("%s answers with more than %d bytes; want a list of files", resp.Request.URL.Host,
					maxAnswer)
			}
			if err := json.Unmarshal(data, into); err != nil {
				return fmt.Errorf("%s answers with something else than a list of files: is it a hub? (%w)",
					resp.Request.URL.Host, err)
			}
			return nil
		})
	})
}
