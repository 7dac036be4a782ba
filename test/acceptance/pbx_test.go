package acceptance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// asterisk is a PBX by another maker: of the system, or unpacked by test/asterisk/unpack.
type asterisk struct {
	t    *testing.T
	log  *logBook
	kill func()
	run  func(args ...string) *exec.Cmd
}

// newAsterisk starts the PBX of test/asterisk/pbx.conf at host 10 of the place, with a telephone at host 20. With a folder of certificates it speaks TLS and
// SRTP with nines, else UDP.
func newAsterisk(t *testing.T, p place, certs string) *asterisk {
	t.Helper()
	under := "/"
	if here, err := filepath.Abs(filepath.Join(root, "bin/asterisk/root")); err == nil {
		if _, err := os.Stat(filepath.Join(here, "usr/sbin/asterisk")); err == nil {
			under = here
		}
	}
	program := filepath.Join(under, "usr/sbin/asterisk")
	if _, err := os.Stat(program); err != nil {
		t.Skip("Asterisk is not here: Debian 12 has none, test/asterisk/unpack bin/asterisk fetches that of Debian 11 (make test does it as root)")
	}
	text, err := os.ReadFile(filepath.Join(root, "test/asterisk/pbx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	way, secure, reach := "transport=transport", "", "sip:"+p.sip(1).String()
	if certs != "" {
		way, reach = "transport=secure\nmedia_encryption=sdes", "sip:"+p.at(1, 5061).String()+"\\;transport=tls"
		secure = "[secure]\ntype=transport\nprotocol=tls\nmethod=tlsv1_2\nbind=SELF:5061\nverify_server=yes\nverify_client=yes\n" +
			"cert_file=" + certs + "/tls.pem\npriv_key_file=" + certs + "/tls.key\nca_list_file=" + certs + "/ca.pem"
	}
	text = []byte(strings.NewReplacer("\nWAY\n", "\n"+way+"\n", "\nSECURE\n", "\n"+secure+"\n", "=REACH\n", "="+reach+"\n").Replace(string(text)))
	fill := strings.NewReplacer("NINES", p.ip(1).String(), "SELF", p.ip(10).String(), "DESK", p.ip(20).String(), "DIR", dir, "ROOT", strings.TrimSuffix(under, "/"))
	for _, file := range strings.Split(fill.Replace(string(text)), "\n== ")[1:] {
		name, conf, _ := strings.Cut(file, "\n")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(conf+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	libs := ""
	if under != "/" {
		libs = strings.Join([]string{under + "/usr/lib", under + "/usr/lib/x86_64-linux-gnu", under + "/lib/x86_64-linux-gnu"}, ":")
	}
	a := &asterisk{t: t, run: func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, append([]string{"-C", dir + "/asterisk.conf"}, args...)...)
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libs)
		return cmd
	}}
	a.log, a.kill = runningCommand(t, a.run("-f", "-n", "-vvvv"))
	eventually(t, 30*time.Second, "Asterisk is ready", func() bool { return len(a.log.with("Asterisk Ready")) > 0 })
	return a
}

// says runs a command of its console.
func (a *asterisk) says(command string) string {
	a.t.Helper()
	out, err := a.run("-rx", command).CombinedOutput()
	if err != nil {
		a.t.Fatalf("Asterisk does not answer %q: %v\n%s", command, err, out)
	}
	return string(out)
}

const forAsterisk = head + `
trunks:
  bt: { from: ["{200}/32"] }
  pbx: { kind: pbx, from: ["{10}/32"], out: [bt-out] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 1000 }
  standby: { uri: "sip:{11}:5060", calls: 1000 }
  bt-out: { uri: "sip:{200}:5060" }
routes:
  - { name: "999", class: emergency, trunks: [bt], numbers: ["999", "112"], ask: [control-room, standby] }
  - { name: "101", class: routine, trunks: [bt], numbers: ["101"], ask: [control-room] }
`

// TestAsteriskAsThePBX: a real PBX with a telephone behind it. It answers, holds and ends calls, hears key presses, refuses, calls out, watches us by
// OPTIONS, asks for session timers; and when it is killed, who talks there goes on elsewhere.
func TestAsteriskAsThePBX(t *testing.T) {
	t.Parallel()
	p := newPlace()
	pbx := newAsterisk(t, p, "")
	desk := phone(t, town.PhoneConfig{Name: "desk", Addr: p.sip(20), Script: town.Always(town.Answers(200 * time.Millisecond)), Voice: 20 * time.Millisecond, Lenient: true})
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Answers(0)), Voice: 20 * time.Millisecond})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200), Script: town.Always(town.Answers(0)), Voice: 20 * time.Millisecond})
	n := start(t, p, forAsterisk)
	n.verdict("up", "control-room", "standby")
	eventually(t, 15*time.Second, "Asterisk's qualify finds us alive", func() bool { return strings.Contains(pbx.says("pjsip show contacts"), "Avail") })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dial := func(number string) *town.Call {
		t.Helper()
		c, err := carrier.Place(town.Dial{URI: "sip:" + number + "@" + p.sip(1).String(), From: "+447700900123"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	answered := func(number string) *town.Call {
		t.Helper()
		c := dial(number)
		if err := c.Talks(ctx); err != nil {
			t.Fatalf("%v; Asterisk says:\n%s", err, pbx.log.tail(30))
		}
		return c
	}
	talk := func(number string) *town.Call {
		t.Helper()
		c := answered(number)
		eventually(t, 5*time.Second, "the caller hears something", func() bool { v := c.Record().Voice; return v.Heard+v.Changed > 20 })
		return c
	}
	atDesk := func() *town.Call {
		t.Helper()
		if _, _, talking := desk.Live(); talking != 1 {
			t.Fatalf("the telephone behind the PBX has %d calls, want 1", talking)
		}
		calls := desk.Calls()
		d := calls[len(calls)-1]
		eventually(t, 5*time.Second, "the desk hears something", func() bool { v := d.Record().Voice; return v.Heard+v.Changed > 20 })
		return d
	}
	over := func(ph *town.Phone, who string) {
		t.Helper()
		eventually(t, 5*time.Second, who+" has no call", func() bool { _, _, talking := ph.Live(); return talking == 0 })
	}

	t.Run("both ends hold, the caller ends", func(t *testing.T) {
		c := talk("999")
		d := atDesk()
		for what, hold := range map[string]func(string) <-chan int{"the caller's": c.Reinvite, "the desk's": d.Reinvite} {
			for _, direction := range []string{"sendonly", "sendrecv"} {
				code := 0
				eventually(t, 10*time.Second, what+" "+direction+" is not crossed by a re-INVITE of the PBX", func() bool {
					code = <-hold(direction)
					return code != 491 // RFC 3261 §14.1: it is asked again
				})
				if code != 200 {
					t.Errorf("%s %s got %d, want 200", what, direction, code)
				}
			}
		}
		before := c.Record().Voice
		eventually(t, 5*time.Second, "the caller hears the desk again", func() bool { v := c.Record().Voice; return v.Heard+v.Changed > before.Heard+before.Changed+20 })
		c.Clear()
		over(desk, "the desk")
		n.empty(10 * time.Second)
	})
	t.Run("the desk ends", func(t *testing.T) {
		talk("999")
		atDesk().Clear()
		over(carrier, "the carrier")
		n.empty(10 * time.Second)
	})
	t.Run("a key press", func(t *testing.T) {
		c := answered("112")
		eventually(t, 10*time.Second, "the PBX waits for a key", func() bool { return len(pbx.log.with("Accepting a maximum of 1 digits")) > 0 })
		eventually(t, 5*time.Second, "the PBX knows the caller's address from its voice", func() bool { return c.Record().Voice.Sent > 20 }) // what comes before is no key to it
		c.Press('5')
		eventually(t, 10*time.Second, "the PBX hears the key", func() bool { return len(pbx.log.with("the caller pressed 5")) > 0 })
		c.Clear()
		n.empty(10 * time.Second)
	})
	t.Run("a refusal", func(t *testing.T) {
		c := dial("101")
		if err := c.Ends(ctx); err != nil {
			t.Fatal(err)
		}
		if got := c.Record().Finals; len(got) != 1 || got[0] != 404 { // not 486: the room would be full for 5 s, and the next call elsewhere
			t.Errorf("a PBX without such a number gave %v, want 404", got)
		}
		n.empty(10 * time.Second)
	})
	t.Run("the desk calls out", func(t *testing.T) {
		c, err := desk.Place(town.Dial{URI: "sip:07700900999@" + p.sip(10).String()})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Talks(ctx); err != nil {
			t.Fatalf("%v; Asterisk says:\n%s", err, pbx.log.tail(30))
		}
		eventually(t, 5*time.Second, "the carrier has the call", func() bool { _, _, talking := carrier.Live(); return talking == 1 })
		eventually(t, 5*time.Second, "the desk hears something", func() bool { v := c.Record().Voice; return v.Heard+v.Changed > 20 })
		c.Clear()
		over(carrier, "the carrier")
		n.empty(10 * time.Second)
	})
	t.Run("it is killed in the middle of a call", func(t *testing.T) {
		c := talk("999")
		atDesk()
		pbx.kill()
		eventually(t, 10*time.Second, "the standby has the call", func() bool { _, _, talking := standby.Live(); return talking == 1 })
		eventually(t, 10*time.Second, "the call is rescued", func() bool { return n.status().Rescues.Rescued == 1 })
		c.Clear()
		over(standby, "the standby")
		n.empty(10 * time.Second)
	})
}
