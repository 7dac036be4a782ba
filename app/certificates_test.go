package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"nines/configs"
	"nines/health"
	"nines/internal/town/certs"
)

func TestACertificateThatCannotBeReadAgainIsKept(t *testing.T) {
	dir, ca := t.TempDir(), certs.New("ca")
	names := configs.TLS{Certificate: filepath.Join(dir, "tls.pem"), Key: filepath.Join(dir, "tls.key"), ClientCA: filepath.Join(dir, "ca.pem")}
	c := &certificates{log: zerolog.Nop(), notice: func(health.Notice) {}}
	if got := c.load(names); got.Certificate != nil || got.Partners != nil {
		t.Errorf("without files there is %v; want no TLS, and a start all the same", got)
	}
	first := ca.Issue("nines.example")
	if err := certs.Write(dir, "tls", first); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(names.ClientCA, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	got := c.load(names)
	if got.Certificate == nil || got.Certificate.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) != 0 || got.Partners == nil || got.Roots == nil {
		t.Fatalf("the files were not taken: %v", got)
	}
	second := ca.Issue("nines.example")
	if err := certs.Write(dir, "tls", second); err != nil {
		t.Fatal(err)
	}
	if got := c.load(names); got.Certificate.Leaf.SerialNumber.Cmp(second.Leaf.SerialNumber) != 0 {
		t.Error("the new certificate was not taken at the reload")
	}
	for _, f := range []string{names.Certificate, names.ClientCA} {
		if err := os.WriteFile(f, []byte("half a file"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.load(names); got.Certificate == nil || got.Certificate.Leaf.SerialNumber.Cmp(second.Leaf.SerialNumber) != 0 || got.Partners == nil {
		t.Error("a running node lost its certificate to a broken file")
	}
}

func TestACertificateThatEndsIsSaidOnceADay(t *testing.T) {
	dir, ca := t.TempDir(), certs.New("ca")
	now := time.Now()
	if err := certs.Write(dir, "tls", ca.Until(now.Add(31*24*time.Hour), "nines.example")); err != nil {
		t.Fatal(err)
	}
	var said []string
	c := &certificates{log: zerolog.Nop(), notice: func(n health.Notice) { said = append(said, n.Text) }}
	c.load(configs.TLS{Certificate: filepath.Join(dir, "tls.pem"), Key: filepath.Join(dir, "tls.key")})
	for hour := range 33 * 24 {
		c.look(now.Add(time.Duration(hour) * time.Hour))
	}
	if len(said) < 30 || len(said) > 33 {
		t.Errorf("in 33 days it was said %d times, want once a day from thirty days before the end", len(said))
	}
	if first, last := said[0], said[len(said)-1]; !strings.Contains(first, "expires on") || !strings.Contains(last, "expired on") {
		t.Errorf("it was said first %q and last %q, want that it ends and that it has ended", first, last)
	}
	if st := c.status(now.Add(32 * 24 * time.Hour)); !st.Usable || !st.Expired {
		t.Errorf("the status is %+v, want an expired certificate that is in use", st)
	}
}
