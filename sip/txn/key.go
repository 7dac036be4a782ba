package txn

import (
	"strconv"
	"strings"
)

// Key names a transaction within a [Table].
type Key string

// MagicCookie begins the branch of every Via that follows RFC 3261 (§8.1.1.7).
const MagicCookie = "z9hG4bK"

// ClientKey names a client transaction of ours: the branch of our Via and the method of the CSeq (RFC 3261 §17.1.3).
func ClientKey(branch, method string) Key { return Key("c " + method + " " + branch) }

// ServerKey names a peer's transaction: the branch and sent-by of its top Via and its method, where an ACK belongs to its INVITE (RFC 3261 §17.2.3).
// For a Via whose branch does not begin with [MagicCookie] pass [LegacyBranch] as branch.
func ServerKey(branch, sentBy, method string) Key {
	if method == "ACK" {
		method = "INVITE"
	}
	return Key("s " + method + " " + branch + " " + sentBy)
}

// LegacyBranch stands in for the branch of a request whose Via has none with the magic cookie. RFC 3261 §17.2.3 compares Request-URI, tags, Call-ID, CSeq
// and top Via then; the To tag is left out, because only our response gave it to the ACK that has to match.
func LegacyBranch(callID, fromTag string, cseq uint32, requestURI, via string) string {
	return strings.Join([]string{callID, fromTag, strconv.FormatUint(uint64(cseq), 10), requestURI, via}, "|")
}

// cancelKey names the CANCEL of a client INVITE: same branch, other method (RFC 3261 §9.1).
func cancelKey(invite Key) Key { return "c CANCEL " + invite[len("c INVITE "):] }

// Method is the method that a key was made with.
func (k Key) Method() string {
	_, rest, _ := strings.Cut(string(k), " ")
	method, _, _ := strings.Cut(rest, " ")
	return method
}
