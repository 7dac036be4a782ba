package journal

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A Signature is what the node's key says of the book: that entry Seq had this hash. Whoever keeps one elsewhere, from the log or an export, can tell later
// whether the book up to there is still the same.
type Signature struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"` // hexadecimal
	Key  string `json:"key"`  // the public key, hexadecimal
	Sig  string `json:"sig"`  // Ed25519, hexadecimal
}

// signed is the text that is signed.
func signed(purpose string, seq int64, hash string) []byte {
	return fmt.Appendf(nil, "nines %s %d %s", purpose, seq, hash)
}

const (
	headPurpose = "head"
	cutPurpose  = "cut"
)

// Valid says whether the signature is that of its key.
func (s Signature) Valid() bool { return validSignature(headPurpose, s.Seq, s.Hash, s.Key, s.Sig) }

func validSignature(purpose string, seq int64, hash, key, sig string) bool {
	k, err := hex.DecodeString(key)
	if err != nil || len(k) != ed25519.PublicKeySize {
		return false
	}
	b, err := hex.DecodeString(sig)
	return err == nil && ed25519.Verify(k, signed(purpose, seq, hash), b)
}

// sign makes a head entry say where the chain stands before it.
func (s *store) sign(e *Entry) {
	sig := s.signature()
	e.Data, _ = json.Marshal(sig) // four plain fields
	e.Why = fmt.Sprintf("entry %d has the hash %s", sig.Seq, sig.Hash)
	if sig.Sig == "" {
		e.Why += ", not signed: there is no key"
	}
}

// signature says where the chain stands; without a key it is not signed.
func (s *store) signature() Signature {
	sig := Signature{Seq: s.chain.seq, Hash: hex.EncodeToString(s.chain.head[:])}
	if s.key != nil {
		sig.Key = hex.EncodeToString(s.key.Public().(ed25519.PublicKey))
		sig.Sig = hex.EncodeToString(ed25519.Sign(s.key, signed(headPurpose, sig.Seq, sig.Hash)))
	}
	return sig
}

// mark is the signed word that the book begins at an entry.
func (s *store) mark(seq int64, before hash, now time.Time) cutMark {
	c := cutMark{Seq: seq, Before: hex.EncodeToString(before[:]), At: now.UTC()}
	if s.key != nil {
		c.Key = hex.EncodeToString(s.key.Public().(ed25519.PublicKey))
		c.Sig = hex.EncodeToString(ed25519.Sign(s.key, signed(cutPurpose, c.Seq, c.Before)))
	}
	return c
}

// readKey reads the signing key, or makes one when there is no file.
func readKey(path string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, err
	}
	p, _ := pem.Decode(b)
	if p == nil {
		return nil, fmt.Errorf("read %s: it is no PEM file", path)
	}
	k, err := x509.ParsePKCS8PrivateKey(p.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read %s: it is a key of another kind; the book is signed with Ed25519", path)
	}
	return key, nil
}

func makeKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	// Written aside and renamed: a crash leaves no half of a key.
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return nil, err
	}
	return key, nil
}
