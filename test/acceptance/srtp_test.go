package acceptance

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zaf/g711"

	"nines/internal/town/certs"
)

// sealed makes the certificates of a place: tls.pem and tls.key for nines and the PBX, both.pem with the two in one, ca.pem of who signed them.
func sealed(t *testing.T, p place) (dir string) {
	t.Helper()
	guild := certs.New("guild")
	dir = shortDir(t)
	if err := certs.Write(dir, "tls", guild.Issue("127.0.0.1", "::1", p.ip(1).String(), p.ip(10).String(), p.ip(12).String())); err != nil {
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
	return dir
}

// identity is TLS of a phone of the town that shows the certificate of a folder and demands one that was signed by the same.
func identity(t *testing.T, dir string) *tls.Config {
	t.Helper()
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	guild := x509.NewCertPool()
	guild.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: guild, ClientCAs: guild, ClientAuth: tls.RequireAndVerifyClientCert}
}

// secureHead is head with TLS, certificates and a trunk of phones on loopback's first address, where some send from whatever they are told.
func secureHead(dir string) string {
	return strings.Replace(head, "udp://{1}:5060,", "udp://{1}:5060, tls://{1}:5061,", 1) + fmt.Sprintf(`
tls: { certificate: %[1]s/tls.pem, key: %[1]s/tls.key, client_ca: %[1]s/ca.pem }
trunks: { bt: { from: ["127.0.0.1/32", "{200}/32"] } }
`, dir)
}

// secureBaresip is a phone that accepts TLS and SRTP (RFC 4568) only.
func secureBaresip(t *testing.T, sip netip.AddrPort, user, dir string, tone int) *baresip {
	t.Helper()
	return newBaresip(t, sip, user, ";transport=tls;mediaenc=srtp-mand;audio_codecs=pcma", tone, "sip_certificate "+dir+"/both.pem", "sip_cafile "+dir+"/ca.pem")
}

// overTLS is where a baresip listens for TLS.
func overTLS(at netip.AddrPort) string {
	return netip.AddrPortFrom(at.Addr(), at.Port()+1).String() + ";transport=tls"
}

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
	dir, at := sealed(t, p), freePort(t)
	n := start(t, p, secureHead(dir)+`
endpoints: { room: { uri: "sip:room@`+overTLS(at)+`", require_tls: true } }
routes: [{ name: "999", class: emergency, numbers: ["999"], ask: [room] }]
`)
	room := secureBaresip(t, at, "room", dir, 440)
	n.verdict("up", "room")
	caller := secureBaresip(t, freePort(t), "caller", dir, 880)
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

// inEncryptedCrisis is an outage with a person behind the announcement of 101 who, as the caller, accepts TLS and SRTP only.
func inEncryptedCrisis(t *testing.T, p place, dir string) (n *node, room *baresip) {
	t.Helper()
	at := freePort(t)
	if err := os.WriteFile(filepath.Join(dir, "ours.wav"), wav(440), 0o600); err != nil {
		t.Fatal(err)
	}
	n = start(t, p, secureHead(dir)+`
endpoints:
  dead: { uri: "sip:{10}:5060" }
  room: { uri: "sip:room@`+overTLS(at)+`", require_tls: true }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [dead, room] }
  - { name: "101", class: routine, numbers: ["101"], ask: [dead], otherwise: [{ announce: ours, escape: { digit: "9", to: "999" } }] }
announcements: { ours: { files: [`+dir+`/ours.wav], times: 100 } }
`)
	room = secureBaresip(t, at, "room", dir, 880)
	n.verdict("up", "room")
	n.verdict("down", "dead")
	n.announces()
	return n, room
}

// TestAnEncryptedCallerHearsTheAnnouncement: a telephone of another maker, which accepts TLS and SRTP only, writes down what it makes of our packets. Key 9 comes
// encrypted too, and leads to a person.
func TestAnEncryptedCallerHearsTheAnnouncement(t *testing.T) {
	t.Parallel()
	p := newPlace()
	dir, heard := sealed(t, p), t.TempDir()
	n, room := inEncryptedCrisis(t, p, dir)
	caller := newBaresip(t, freePort(t), "caller", ";transport=tls;mediaenc=srtp-mand;audio_codecs=pcma", 880, "sip_certificate "+dir+"/both.pem", "sip_cafile "+dir+"/ca.pem",
		"module sndfile.so", "snd_path "+heard)
	caller.do("dial", "sip:101@"+p.at(1, 5061).String()+";transport=tls")
	caller.event("CALL_ESTABLISHED")
	eventually(t, 10*time.Second, "the announcement is played", func() bool { return n.status().Routine.Announcing == 1 })
	const wavHead, frame = 44, 320
	var files []string
	eventually(t, 20*time.Second, "the telephone has written down what it hears", func() bool {
		files, _ = filepath.Glob(heard + "/*dec*.wav") // the pattern is good
		if len(files) == 0 {
			return false
		}
		info, err := os.Stat(files[0])
		return err == nil && info.Size() > wavHead+45*frame
	})
	caller.do("sndcode", "9")
	caller.do("sndcode", "\x04") // the key is let go
	room.event("CALL_INCOMING")
	room.do("accept", "")
	room.event("CALL_ESTABLISHED")
	room.do("hangup", "")
	caller.event("CALL_CLOSED")
	n.empty(10 * time.Second)

	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for f := range slices.Chunk(g711.DecodeAlaw(payloads(t, wav(440))), frame) {
		told[string(f)] = true
	}
	ours, others := 0, 0
	for f := range slices.Chunk(b[min(wavHead, len(b)):], frame) {
		if told[string(f)] {
			ours++
		} else {
			others++
		}
	}
	if ours < 30 || others > 10 { // it fills what came late, and what it heard last it has not written yet
		t.Errorf("the telephone has heard %d frames of the announcement and %d that are none; want most of 50", ours, others)
	}
}

// TestAnEncryptedCallerEscapesToAPersonWithOtherKeys: from the announcement to a person; both hear each other's keys pressed by the new keys.
func TestAnEncryptedCallerEscapesToAPersonWithOtherKeys(t *testing.T) {
	t.Parallel()
	p := newPlace()
	dir := sealed(t, p)
	n, room := inEncryptedCrisis(t, p, dir)
	caller := newLinphone(t, dir)
	caller.do("call sip:101@" + p.at(1, 5061).String() + ";transport=tls")
	caller.speaks()
	eventually(t, 10*time.Second, "the announcement is played", func() bool { return n.status().Routine.Announcing == 1 })
	caller.do("dtmf 9")
	room.event("CALL_INCOMING")
	room.do("accept", "")
	room.event("CALL_ESTABLISHED")
	eventually(t, 10*time.Second, "the caller talks to a person", func() bool { st := n.status(); return st.Routine.Escaped == 1 && st.Calls.Talking == 1 })
	caller.receives()
	room.do("sndcode", "3")
	room.do("sndcode", "\x04") // the key is let go
	caller.event("(?s)receiving-tone.*Tone: 3")
	caller.do("dtmf 5")
	for got := room.event("CALL_DTMF_START"); got["param"] != "5"; got = room.event("CALL_DTMF_START") {
		if got["param"] != "9" { // the rest of the press that led to the person
			t.Errorf("the person heard %v, want the key 5", got)
		}
	}
	caller.do("terminate")
	room.event("CALL_CLOSED")
	n.empty(10 * time.Second)
}
