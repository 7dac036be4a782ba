package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"nines/configs"
	"nines/console"
	"nines/health"
	"nines/sip"
)

// certificates holds what TLS runs with. What can't be read at a reload stays as it was: a running node never loses its certificate.
type certificates struct {
	log    zerolog.Logger
	notice func(health.Notice)

	mu     sync.Mutex
	names  configs.TLS // the files that are loaded
	now    sip.TLS
	warned time.Time // when it was last said that ours ends
}

const (
	certificateLook  = time.Hour
	certificateAgain = 24 * time.Hour      // how often it is said that ours ends
	certificateSoon  = 30 * 24 * time.Hour // from when on
)

// load reads the files. What is wrong with them the configuration's check has said; here it costs TLS, or what it was for, and nothing else (R2).
func (c *certificates) load(t configs.TLS) sip.TLS {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.now
	c.now = sip.TLS{}
	if t.Certificate != "" && t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		switch {
		case err == nil:
			c.now.Certificate = &pair
		case before.Certificate != nil:
			c.now.Certificate = before.Certificate
			c.log.Error().Err(err).Msg("the TLS certificate could not be read again: the one from before is used on")
		default:
			c.log.Error().Err(err).Msg("no TLS certificate: nobody can connect to us by TLS until it can be read; reload then")
		}
	}
	if t.ClientCA != "" {
		c.authorities(t.ClientCA, before)
	}
	c.names, c.warned = t, time.Time{}
	return c.now
}

func (c *certificates) authorities(path string, before sip.TLS) {
	pem, err := os.ReadFile(path)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(pem) {
		err = fmt.Errorf("%s: no certificate in it", path)
	}
	if err != nil {
		c.now.Partners, c.now.Roots = before.Partners, before.Roots
		c.log.Error().Err(err).Msg("tls.client_ca could not be read: what was trusted before is trusted on, and if nothing was, partners' certificates are not checked")
		return
	}
	c.now.Partners = pool
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a machine without any
	}
	roots.AppendCertsFromPEM(pem) // partners' certificates are checked with it when we connect to them, too
	c.now.Roots = roots
}

// leaf is our certificate; nil without one.
func (c *certificates) leaf() *x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.Certificate == nil {
		return nil
	}
	return c.now.Certificate.Leaf
}

// run looks at the certificate's end until ctx ends.
func (c *certificates) run(ctx context.Context) {
	look := time.NewTicker(certificateLook)
	defer look.Stop()
	for {
		c.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// look warns once a day from thirty days before the end.
func (c *certificates) look(now time.Time) {
	leaf := c.leaf()
	if leaf == nil || now.Add(certificateSoon).Before(leaf.NotAfter) {
		return
	}
	c.mu.Lock()
	again := now.Sub(c.warned) >= certificateAgain
	if again {
		c.warned = now
	}
	c.mu.Unlock()
	if !again {
		return
	}
	if now.After(leaf.NotAfter) {
		c.log.Error().Time("expired", leaf.NotAfter).Msg("our TLS certificate has expired: calls are taken and made with it, but peers may refuse it; renew it and reload")
	} else {
		c.log.Warn().Time("expires", leaf.NotAfter).Msg("our TLS certificate expires soon: renew it and reload")
	}
	c.notice(health.Notice{At: now, Kind: health.Certificate, Text: words(leaf, now)})
}

func words(leaf *x509.Certificate, now time.Time) string {
	day := leaf.NotAfter.UTC().Format(time.DateOnly)
	if now.After(leaf.NotAfter) {
		return "our TLS certificate expired on " + day + ": peers may refuse it; renew it and reload"
	}
	return "our TLS certificate expires on " + day + ": renew it and reload"
}

// status says what TLS runs with; nil without TLS.
func (c *certificates) status(now time.Time) *console.TLSStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == (configs.TLS{}) && c.now.Certificate == nil {
		return nil
	}
	st := &console.TLSStatus{Partners: c.now.Partners != nil}
	if c.now.Certificate != nil && c.now.Certificate.Leaf != nil {
		leaf := c.now.Certificate.Leaf
		st.Usable, st.Subject, st.Expires, st.Expired = true, strings.Join(append(leaf.DNSNames, leaf.Subject.CommonName), " "), leaf.NotAfter, now.After(leaf.NotAfter)
	}
	return st
}
