package acceptance

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// linphone is a phone by another maker, which belle-sip, mediastreamer and libsrtp are made of. It is driven through its daemon's socket, and
// is at 127.0.0.1 as baresip is.
type linphone struct {
	t    *testing.T
	conn net.Conn
	dir  string
	seen []string // events that nobody has waited for yet
}

// newLinphone starts a phone that calls by TLS and speaks SRTP (RFC 4568) only; dir has the certificates. It
// checks who signed them and not the name, because it knows no addresses in certificates. It needs no sound card: it plays a tone.
func newLinphone(t *testing.T, dir string) *linphone {
	t.Helper()
	path := other(t, "linphone-daemon", "linphone-cli")
	l := &linphone{t: t, dir: shortDir(t)}
	for _, d := range []string{".local/share/linphone", ".config/linphone"} { // its data base's: without them it does not start
		if err := os.MkdirAll(filepath.Join(l.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	conf := fmt.Sprintf(`[sip]
sip_port=0
sip_tcp_port=0
sip_tls_port=%d
guess_hostname=0
bind_address=127.0.0.1
contact=sip:caller@127.0.0.1
root_ca=%s/ca.pem
verify_server_certs=1
verify_server_cn=0
media_encryption=srtp
media_encryption_mandatory=1
use_rfc2833=1
use_info=0
[rtp]
audio_rtp_port=%d
bind_address=127.0.0.1
[video]
enabled=0
`, freePort(t).Port(), dir, freePort(t).Port())
	for name, text := range map[string][]byte{"linphonerc": []byte(conf), "tone.wav": tone(440, 60*time.Second)} {
		if err := os.WriteFile(filepath.Join(l.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pipe := filepath.Join(l.dir, "pipe")
	inTmp, err := filepath.Rel("/tmp", pipe) // where it puts its socket, come what may
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--pipe", inTmp, "--config", filepath.Join(l.dir, "linphonerc"), "--log", filepath.Join(l.dir, "log"), "--disable-stats-events")
	cmd.Env = append(os.Environ(), "HOME="+l.dir)
	_, kill := runningCommand(t, cmd)
	eventually(t, time.Minute, "linphone's socket is open", func() bool {
		l.conn, err = net.Dial("unix", pipe)
		return err == nil
	})
	t.Cleanup(func() {
		kill()
		_ = l.conn.Close()
		if text, err := os.ReadFile(filepath.Join(l.dir, "log")); err == nil && t.Failed() {
			t.Logf("linphone said:\n%s", lastLines(string(text), 60))
		}
	})
	for _, c := range []string{"audio-codec-disable ALL", "audio-codec-enable PCMA/8000/1"} {
		l.do(c)
	}
	return l
}

// tone is a WAV file.
func tone(hertz float64, d time.Duration) []byte {
	const rate = 8000
	n := int(d.Seconds() * rate)
	b := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(36+2*n))...)
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(2*n))
	for i := range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(2*math.Pi*hertz*float64(i)/rate))))
	}
	return b
}

// do gives a command and waits for what it says of it.
func (l *linphone) do(command string) string {
	l.t.Helper()
	if _, err := fmt.Fprintln(l.conn, command); err != nil {
		l.t.Fatalf("linphone: %v", err)
	}
	buf := make([]byte, 64<<10)
	if err := l.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	n, err := l.conn.Read(buf)
	if err != nil {
		l.t.Fatalf("linphone does not answer %s: %v", command, err)
	}
	said := string(buf[:n])
	if !strings.HasPrefix(said, "Status: Ok") {
		l.t.Errorf("linphone said of %s: %s", command, said)
	}
	return said
}

// event waits until one of its events has this in it.
func (l *linphone) event(want string) {
	l.t.Helper()
	const within = 15 * time.Second
	matches := regexp.MustCompile(want)
	if !poll(within, func() bool {
		if said := l.do("pop-event"); strings.Contains(said, "Event-type") {
			l.seen = append(l.seen, said)
		}
		for i, e := range l.seen {
			if matches.MatchString(e) {
				l.seen = l.seen[i+1:]
				return true
			}
		}
		return false
	}) {
		l.t.Fatalf("linphone tells of no %s within %v, but of %q", want, within, l.seen)
	}
}

// speaks waits until it talks and has it play its tone, which stops at each hold.
func (l *linphone) speaks() {
	l.t.Helper()
	l.event("StreamsRunning")
	l.do("incall-player-start " + filepath.Join(l.dir, "tone.wav"))
}

// received is a line of its log with how much came, in kbit/s.
var received = regexp.MustCompile(`RTP : \[d=([0-9.]+),`)

// receives waits until a second has passed in which it got most of a voice; each second it logs how much came.
func (l *linphone) receives() {
	l.t.Helper()
	lines := func() [][]string {
		text, err := os.ReadFile(filepath.Join(l.dir, "log"))
		if err != nil {
			l.t.Fatal(err)
		}
		return received.FindAllStringSubmatch(string(text), -1)
	}
	from := len(lines()) + 1 // the next may tell of what was before
	eventually(l.t, 15*time.Second, "linphone receives a voice", func() bool {
		all := lines() // it writes meanwhile
		for _, m := range all[min(from, len(all)):] {
			if v, err := strconv.ParseFloat(m[1], 64); err == nil && v > 60 { // 80 with its headers
				return true
			}
		}
		return false
	})
}

// TestLinphoneTalksToAsteriskEncrypted: a phone and a PBX of two more makers, which accept TLS and SRTP (RFC 4568) only. They hear each other and each
// other's key presses, hold and resume, and either ends the call. Then the PBX is killed in the middle of a call, and the phone goes on with a room whose
// keys are others.
func TestLinphoneTalksToAsteriskEncrypted(t *testing.T) {
	t.Parallel()
	p := newPlace()
	dir, second := sealed(t, p), freePort(t)
	pbx := newAsterisk(t, p, dir)
	desk := phone(t, town.PhoneConfig{Name: "desk", Addr: p.sip(20), Script: town.Always(town.Answers(200 * time.Millisecond)), Voice: 20 * time.Millisecond, Lenient: true})
	n := start(t, p, secureHead(dir)+`
endpoints:
  control-room: { uri: "sip:{10}:5061;transport=tls", require_tls: true }
  standby: { uri: "sip:room@`+overTLS(second)+`", require_tls: true }
routes: [{ name: "999", class: emergency, numbers: ["999", "112"], ask: [control-room, standby] }]
`)
	standby := secureBaresip(t, second, "room", dir, 440)
	caller := newLinphone(t, dir)
	n.verdict("up", "control-room", "standby")
	calls := 0
	dial := func(number string) {
		t.Helper()
		calls++
		caller.do("call sip:" + number + "@" + p.at(1, 5061).String() + ";transport=tls")
		caller.speaks()
	}
	atDesk := func() *town.Call {
		t.Helper()
		all := desk.Calls()
		return all[len(all)-1]
	}
	hears := func(d *town.Call) {
		t.Helper()
		before := d.Record().Voice
		eventually(t, 10*time.Second, "the desk hears the caller", func() bool {
			v := d.Record().Voice
			return v.Heard+v.Changed > before.Heard+before.Changed+20
		})
	}
	over := func() {
		t.Helper()
		caller.event("(End|Released)")
		eventually(t, 5*time.Second, "the desk has no call", func() bool { _, _, talking := desk.Live(); return talking == 0 })
		n.empty(10 * time.Second)
	}

	// Both hold, the desk presses a key and ends the call.
	dial("999")
	d := atDesk()
	hears(d)
	caller.receives()
	caller.do("call-pause")
	caller.event("Paused")
	caller.do(fmt.Sprint("call-resume ", calls))
	caller.speaks()
	hears(d)
	caller.receives()
	for _, direction := range []string{"sendonly", "sendrecv"} {
		code := 0
		eventually(t, 10*time.Second, "the desk's "+direction+" is not crossed by a re-INVITE of the PBX", func() bool {
			code = <-d.Reinvite(direction)
			return code != 491 // RFC 3261 §14.1: it is asked again
		})
		if code != 200 {
			t.Errorf("the desk's %s got %d, want 200", direction, code)
		}
	}
	caller.event("PausedByRemote")
	caller.speaks()
	hears(d)
	caller.receives()
	d.Press('7')
	caller.event("(?s)receiving-tone.*Tone: 7")
	d.Clear()
	over()

	// The caller presses a key and ends the call.
	dial("112")
	eventually(t, 10*time.Second, "the PBX waits for a key", func() bool { return len(pbx.log.with("Accepting a maximum of 1 digits")) > 0 })
	caller.do("dtmf 5")
	eventually(t, 10*time.Second, "the PBX hears the key", func() bool { return len(pbx.log.with("the caller pressed 5")) > 0 })
	caller.do("terminate")
	over()

	// The PBX is killed in the middle of a call.
	dial("999")
	hears(atDesk())
	pbx.kill()
	standby.event("CALL_INCOMING")
	standby.do("accept", "")
	standby.event("CALL_ESTABLISHED")
	eventually(t, 10*time.Second, "the call is rescued", func() bool { return n.status().Rescues.Rescued == 1 })
	caller.receives()
	standby.do("sndcode", "3")
	standby.do("sndcode", "\x04") // the key is let go
	caller.event("(?s)receiving-tone.*Tone: 3")
	caller.do("dtmf 9")
	if got := standby.event("CALL_DTMF_START"); got["param"] != "9" {
		t.Errorf("the standby heard %v, want the key 9", got)
	}
	caller.do("terminate")
	standby.event("CALL_CLOSED")
	n.empty(10 * time.Second)
}
