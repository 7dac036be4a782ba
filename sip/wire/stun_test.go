package wire

import (
	"encoding/hex"
	"net"
	"net/netip"
	"testing"
	"time"
)

// The transaction of RFC 5769 §2.2 and §2.3, whose answers are known; software and integrity are left out.
const stunQuestion = "000100002112a442b7e7a701bc34d686fa87dfae"

func TestABindingRequestIsAnsweredWithItsSource(t *testing.T) {
	question, _ := hex.DecodeString(stunQuestion)
	for src, want := range map[string]string{
		"192.0.2.1:32853": "0101000c2112a442b7e7a701bc34d686fa87dfae" + "002000080001a147e112a643",
		"[2001:db8:1234:5678:11:2233:4455:6677]:32853": "010100182112a442b7e7a701bc34d686fa87dfae" + "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
	} {
		if got := hex.EncodeToString(stunReply(netip.MustParseAddrPort(src), question)); got != want {
			t.Errorf("to %s we say %s, want %s", src, got, want)
		}
	}
	for what, text := range map[string]string{
		"an answer":       "010100002112a442b7e7a701bc34d686fa87dfae",
		"another cookie":  "000100002112a443b7e7a701bc34d686fa87dfae",
		"a wrong length":  "000100042112a442b7e7a701bc34d686fa87dfae",
		"a cut question":  "000100002112a442b7e7a701bc34d686",
		"nothing at all":  "",
		"a SIP keepalive": "0d0a0d0a",
	} {
		data, _ := hex.DecodeString(text)
		if got := stunReply(netip.MustParseAddrPort("192.0.2.1:1"), data); got != nil {
			t.Errorf("%s was answered with %x", what, got)
		}
	}
}

func TestOnlyThoseWeKnowGetAnAnswerToSTUN(t *testing.T) {
	for _, known := range []bool{true, false} {
		n := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0")}, Accept: func(netip.AddrPort, Proto, []byte) bool { return known }})
		c := plain(t, "127.0.0.1:0")
		question, _ := hex.DecodeString(stunQuestion)
		if _, err := c.WriteToUDP(question, net.UDPAddrFromAddrPort(n.at(UDP))); err != nil {
			t.Fatal(err)
		}
		wait := patience
		if !known {
			wait = 100 * time.Millisecond
		}
		_ = c.SetReadDeadline(time.Now().Add(wait))
		size, err := c.Read(make([]byte, 100))
		if known && (err != nil || size != 32) {
			t.Errorf("%d bytes came back (%v), want the 32 of an answer", size, err)
		}
		if !known && err == nil {
			t.Errorf("a stranger got %d bytes back for its 20", size)
		}
	}
}

func FuzzSTUN(f *testing.F) {
	question, _ := hex.DecodeString(stunQuestion)
	f.Add(question)
	f.Add(append(question, 0, 6, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, src := range []string{"192.0.2.1:32853", "[2001:db8::1]:1"} {
			if b := stunReply(netip.MustParseAddrPort(src), data); b != nil && (len(b) > stunHeader+8+16 || string(b[4:20]) != string(data[4:20])) {
				t.Fatalf("%x was answered with %x", data, b)
			}
		}
	})
}
