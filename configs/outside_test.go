package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// certificate makes a self-signed certificate and its key in PEM.
func certificate(t *testing.T, from, to time.Time) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

func TestACertificateIsTakenAndItsDaysAreSaid(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to time.Duration // from today
		want     []string
	}{
		{"a good one", -10 * day, 90 * day, nil},
		{"one that expires soon", -10 * day, 29 * day, []string{"nines.yaml:1: warning: tls.certificate: the certificate expires on 2026-12-22; renew it"}},
		{"one that expired", -10 * day, -day, []string{"nines.yaml:1: warning: tls.certificate: the certificate expired on 2026-11-22; renew it; calls are taken meanwhile"}},
		{"one of tomorrow", day, 90 * day, []string{"nines.yaml:1: warning: tls.certificate: the certificate is valid from 2026-11-24 only; check the clock, or the certificate"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, key := certificate(t, today.Add(tt.from), today.Add(tt.to))
			disk := map[string][]byte{"tls.pem": cert, "tls.key": key, "ca.pem": cert}
			diff := cmp.Diff(warningsWith(t, "tls: { certificate: tls.pem, key: tls.key, client_ca: ca.pem }\n", disk), tt.want)
			if diff != "" {
				t.Errorf("%s is told so (- got, + want):\n%s", tt.name, diff)
			}
		})
	}
}

// TestAFileOfManyGigabytesIsNotRead: a recording that is one big hole must not take the memory of the calls.
func TestAFileOfManyGigabytesIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse.wav")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4<<30); err != nil {
		t.Skipf("this disk has no sparse files: %v", err)
	}
	if _, err := loadFile(path); err == nil || !strings.Contains(err.Error(), "too big: 4096 MiB, at most 64") {
		t.Errorf("got %v, want it to be too big", err)
	}
}

func TestABadFileDisablesThatPartOnly(t *testing.T) {
	cert, _ := certificate(t, today, today.Add(365*day))
	_, key := certificate(t, today, today.Add(365*day))
	wav := []byte("RIFF\x24\x00\x00\x00WAVEfmt ")
	for _, tt := range []struct {
		name, line string
		disk       map[string][]byte
		want       []string
	}{
		{
			"a key of another certificate", "tls: { certificate: c, key: k }\n",
			map[string][]byte{"c": cert, "k": key},
			[]string{"nines.yaml:1: warning: tls.certificate: nobody can connect by TLS: tls: private key does not match public key; use a certificate and its key in PEM"},
		},
		{
			"a missing key", "tls: { certificate: c, key: k }\n",
			map[string][]byte{"c": cert},
			[]string{"nines.yaml:1: warning: tls.key: nobody can connect by TLS: file does not exist; put the file there"},
		},
		{
			"client certificates that are none", "tls: { client_ca: c }\n",
			map[string][]byte{"c": []byte("hello")},
			[]string{"nines.yaml:1: warning: tls.client_ca: partners' certificates are not checked: there is none in the file; use certificates in PEM"},
		},
		{"announcements that are WAV", "announcements: { ours: { files: [a, b] } }\n", map[string][]byte{"a": wav, "b": wav}, nil},
		{
			"an announcement that is no WAV", "announcements: { ours: { files: [a, b] } }\n",
			map[string][]byte{"a": wav, "b": []byte("ID3 an MP3 file")},
			[]string{"nines.yaml:1: warning: announcements.ours.files[1]: report-online is played instead: this is no WAV file; use a WAV file"},
		},
		{"a token file", "console: { tokens_file: t }\n", map[string][]byte{"t": nil}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(warningsWith(t, tt.line, tt.disk), tt.want); diff != "" {
				t.Errorf("%s is told so (- got, + want):\n%s", tt.name, diff)
			}
		})
	}
}

// warningsWith parses the file of the tests with a line before it and some files on disk. None of it may refuse the file.
func warningsWith(t *testing.T, line string, disk map[string][]byte) []string {
	t.Helper()
	load := func(path string) ([]byte, error) {
		if data, ok := disk[path]; ok {
			return data, nil
		}
		return nil, fs.ErrNotExist
	}
	_, problems := Parse("nines.yaml", []byte(line+base), At(today), Loading(load))
	if !problems.OK() {
		t.Errorf("a bad file outside refuses the whole:\n%s", problems)
	}
	var lines []string
	for _, p := range problems.Of(Warning) {
		lines = append(lines, p.String())
	}
	return lines
}
