package acceptance

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nines/internal/town/certs"
)

// encrypted starts a nines whose one room accepts TLS only, and that room: a baresip that accepts SRTP (RFC 4568) only. own are lines of baresip's
// configuration that give it a certificate.
func encrypted(t *testing.T, p place) (n *node, room *baresip, own []string) {
	t.Helper()
	guild, dir := certs.New("guild"), shortDir(t)
	if err := certs.Write(dir, "tls", guild.Issue("127.0.0.1", p.ip(1).String())); err != nil {
		t.Fatal(err)
	}
	both := []byte(nil)
	for _, name := range []string{"tls.pem", "tls.key"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	for name, text := range map[string][]byte{"both.pem": both, "ca.pem": guild.PEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := freePort(t)
	n = start(t, p, fmt.Sprintf(strings.Replace(head, "udp://{1}:5060,", "udp://{1}:5060, tls://{1}:5061,", 1)+`
tls: { certificate: %[1]s/tls.pem, key: %[1]s/tls.key, client_ca: %[1]s/ca.pem }
trunks: { bt: { from: ["127.0.0.1/32"] } }
endpoints: { room: { uri: "sip:room@%[2]s;transport=tls", require_tls: true } }
routes: [{ name: "999", class: emergency, numbers: ["999"], ask: [room] }]
`, dir, netip.AddrPortFrom(at.Addr(), at.Port()+1))) // where baresip listens for TLS
	own = []string{"sip_certificate " + dir + "/both.pem", "sip_cafile " + dir + "/ca.pem"}
	room = newBaresip(t, at, "room", secured, 440, own...)
	n.verdict("up", "room")
	return n, room, own
}

const secured = ";transport=tls;mediaenc=srtp-mand;audio_codecs=pcma"

// talks waits until audio has passed for a while.
func (n *node) talks() {
	n.t.Helper()
	from := n.status().Media.Packets
	eventually(n.t, 10*time.Second, "they talk", func() bool { return n.status().Media.Packets >= from+200 })
}

// TestEncryptedPhonesTalkThroughNines: both ends accept TLS and SRTP only. nines ends TLS on both sides and relays SRTP as it comes: keys and packets are
// theirs.
func TestEncryptedPhonesTalkThroughNines(t *testing.T) {
	t.Parallel()
	p := newPlace()
	n, room, own := encrypted(t, p)
	caller := newBaresip(t, freePort(t), "caller", secured, 880, own...)
	caller.do("dial", "sip:999@"+p.at(1, 5061).String()+";transport=tls")
	room.event("CALL_INCOMING")
	room.do("accept", "")
	room.event("CALL_ESTABLISHED")
	caller.event("CALL_ESTABLISHED")
	n.talks()
	caller.do("hold", "")
	room.event("CALL_REMOTE_SDP")
	caller.do("resume", "")
	room.event("CALL_REMOTE_SDP")
	n.talks()
	room.do("hangup", "")
	caller.event("CALL_CLOSED")
	n.empty(10 * time.Second)
}
