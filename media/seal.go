package media

import (
	"bytes"
	"fmt"

	pion "github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// Seal is how one end's packets are encrypted (RFC 3711), by a key that it has told in SDP (RFC 4568).
type Seal struct {
	Suite string // AES_CM_128_HMAC_SHA1_80 or AES_CM_128_HMAC_SHA1_32
	Key   []byte // master key and salt, 30 bytes
}

const (
	sealKey  = 16 // bytes of the master key; the rest is the salt
	sealSize = 30
)

// envelope seals or opens the packets of one key. It counts how often sequence numbers have begun anew, so it lives as long as the key. One goroutine uses it.
type envelope struct {
	seal    Seal
	context *srtp.Context
	header  pion.Header
	buf     []byte
}

// newEnvelope makes the envelope of a seal; of none there is none.
func newEnvelope(s *Seal) (*envelope, error) {
	if s == nil {
		return nil, nil
	}
	profile := srtp.ProtectionProfileAes128CmHmacSha1_80
	switch {
	case s.Suite == "AES_CM_128_HMAC_SHA1_32":
		profile = srtp.ProtectionProfileAes128CmHmacSha1_32
	case s.Suite != "AES_CM_128_HMAC_SHA1_80":
		return nil, fmt.Errorf("%w: suite %q", ErrPlayback, s.Suite)
	}
	if len(s.Key) != sealSize {
		return nil, fmt.Errorf("%w: a key of %d bytes", ErrPlayback, len(s.Key))
	}
	c, err := srtp.CreateContext(s.Key[:sealKey], s.Key[sealKey:], profile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlayback, err)
	}
	return &envelope{seal: Seal{s.Suite, bytes.Clone(s.Key)}, context: c}, nil
}

// same says whether two envelopes have one key, so that the older one goes on.
func (e *envelope) same(o *envelope) bool {
	if e == nil || o == nil {
		return e == o
	}
	return e.seal.Suite == o.seal.Suite && bytes.Equal(e.seal.Key, o.seal.Key)
}

// close gives the sealed packet; it is good until the next call.
func (e *envelope) close(packet []byte) ([]byte, error) {
	b, err := e.context.EncryptRTP(e.buf[:0], packet, &e.header)
	if err == nil {
		e.buf = b
	}
	return b, err
}

// open gives the packet that was sealed; it is good until the next call. Of one that was not sealed by this key it gives an error.
func (e *envelope) open(packet []byte) ([]byte, error) {
	b, err := e.context.DecryptRTP(e.buf[:0], packet, &e.header)
	if err == nil {
		e.buf = b
	}
	return b, err
}
