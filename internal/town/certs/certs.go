// Package certs makes certificates for tests: an authority, and whatever it signs.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority signs certificates. It panics where the machine has no randomness.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64
}

// New makes an authority that is valid for ten years around now.
func New(name string) *Authority {
	a := &Authority{key: newKey(), last: 1}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-5, 0, 0), NotAfter: time.Now().AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = parse(must(x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)))
	return a
}

// Issue signs a certificate for names and addresses, valid from a day ago for a year.
func (a *Authority) Issue(names ...string) tls.Certificate {
	return a.Until(time.Now().AddDate(1, 0, 0), names...)
}

// Until signs one that ends then; it began a year before.
func (a *Authority) Until(end time.Time, names ...string) tls.Certificate {
	a.last++
	key := newKey()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: "test"}, NotBefore: end.AddDate(-1, 0, -1), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der := must(x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parse(der)}
}

// Pool trusts the authority.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// PEM is the authority's certificate as a file holds it.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Write puts a certificate and its key into a folder, as name.pem and name.key.
func Write(dir, name string, c tls.Certificate) error {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		name + ".key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func parse(der []byte) *x509.Certificate { return must(x509.ParseCertificate(der)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
